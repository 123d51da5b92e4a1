// The access rules from a client's side: who may pull, push, delete, mount and see what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <stop_token>
#include <thread>

#include "tests/origin/auth_fixture.h"
#include "tests/origin/token_signer.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_client.h"

namespace origin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kBob = basic("bob", "word");

class RulesTest : public AuthTest {
 protected:
  // As written, after htpasswd.
  uint16_t start_with(const std::string& access) { return start(with(htpasswd() + access)).port(); }
  // Repositories with one blob each, pushed by nobody's leave.
  void fill(const std::vector<std::string>& repositories) {
    Registry& open = start(config());
    for (const std::string& name : repositories) push_image(open.port(), name, "latest", name);
  }
};

TEST_F(RulesTest, EachActionOfEachCaller) {
  fill({"team/a", "other"});
  const uint16_t port = start_with(R"(
access:
  groups: {team: [ann]}
  rules:
    - {repositories: "team/*", groups: team, actions: [pull, push]}
    - {repositories: "team/*", clients: authenticated, actions: pull}
    - {repositories: "team/*", clients: anonymous, actions: []}
    - {repositories: "**", clients: anonymous, actions: pull}
)");
  const auto status = [&](const std::string& method, const std::string& target,
                          const std::string& who) { return ask(port, method, target, who).status; };
  const std::string manifest = "/v2/team/a/manifests/latest";
  EXPECT_EQ(status("GET", manifest, kAnn), 200);
  EXPECT_EQ(status("GET", manifest, kBob), 200);
  EXPECT_EQ(status("GET", manifest, ""), 401);
  EXPECT_EQ(status("POST", "/v2/team/a/blobs/uploads/", kAnn), 202);
  const auto denied = ask(port, "POST", "/v2/team/a/blobs/uploads/", kBob);
  EXPECT_EQ(denied.status, 403);
  EXPECT_EQ(error_code(denied), "DENIED");
  EXPECT_EQ(denied.header("WWW-Authenticate"), "");
  EXPECT_EQ(status("OPTIONS", manifest, kBob), 200);
  EXPECT_EQ(status("OPTIONS", manifest, basic("bob", "stale")), 401);
  EXPECT_EQ(status("DELETE", manifest, kAnn), 403);
  EXPECT_EQ(status("GET", "/v2/other/manifests/latest", ""), 200);
  EXPECT_EQ(status("GET", "/v2/other/manifests/latest", kBob), 200);
  EXPECT_EQ(status("GET", "/v2/other/manifests/latest", basic("bob", "stale")), 401)
      << "what is shown must be good";
  EXPECT_EQ(status("POST", "/v2/other/blobs/uploads/", kBob), 403);
  EXPECT_EQ(status("POST", "/v2/other/blobs/uploads/", ""), 401);
  EXPECT_EQ(status("GET", "/v2/", ""), 200) << "there is something for anybody";
}

TEST_F(RulesTest, ThatNothingMayBeWrittenIsSaidToThoseWhoMight) {
  Config read_only = with(htpasswd());
  read_only.read_only = true;
  const uint16_t port = start(std::move(read_only)).port();
  for (const char* method : {"POST", "OPTIONS"}) {
    EXPECT_EQ(ask(port, method, "/v2/a/blobs/uploads/").status, 401) << method;
  }
  EXPECT_EQ(ask(port, "POST", "/v2/a/blobs/uploads/", kAnn).status, 405);
  EXPECT_EQ(ask(port, "OPTIONS", "/v2/a/blobs/uploads/", kAnn).status, 200);
  EXPECT_EQ(ask(port, "PUT", "/nowhere").status, 404);
}

TEST_F(RulesTest, UploadsAreEndedByThoseWhoMayPush) {
  const uint16_t port =
      start_with("access: {rules: [{repositories: '**', users: ann, actions: [pull, push]}]}\n");
  const auto begun = ask(port, "POST", "/v2/a/blobs/uploads/", kAnn);
  ASSERT_EQ(begun.status, 202);
  EXPECT_EQ(ask(port, "DELETE", location(begun), kBob).status, 403);
  EXPECT_EQ(ask(port, "DELETE", location(begun), kAnn).status, 204);
}

TEST_F(RulesTest, TheCatalogHasWhatMayBePulledPageByPage) {
  fill({"a", "b/hidden", "b/x", "c", "d"});
  const uint16_t port = start_with(R"(
access:
  rules:
    - {repositories: ["b/hidden", c], users: ann, actions: pull}
    - {repositories: ["b/hidden", c], clients: anonymous, actions: []}
    - {repositories: "**", clients: anonymous, actions: pull}
)");
  const auto names = [&](const std::string& query, const std::string& who) {
    return strings(ask(port, "GET", "/v2/_catalog" + query, who), "repositories");
  };
  EXPECT_THAT(names("", kAnn), ElementsAre("a", "b/hidden", "b/x", "c", "d"));
  EXPECT_THAT(names("", kBob), ElementsAre("a", "b/x", "d"));
  EXPECT_THAT(names("", ""), ElementsAre("a", "b/x", "d"));
  const auto first = ask(port, "GET", "/v2/_catalog?n=2", "");
  EXPECT_THAT(strings(first, "repositories"), ElementsAre("a", "b/x"));
  EXPECT_EQ(first.header("Link"), R"(</v2/_catalog?last=b%2Fx&n=2>; rel="next")");
  EXPECT_THAT(names("?n=2&last=b%2Fx", ""), ElementsAre("d"));
}

TEST_F(RulesTest, AMountNeedsPullOfWhereTheBlobIs) {
  fill({"secret", "public"});
  const uint16_t port = start_with(R"(
access:
  rules:
    - {repositories: secret, users: ann, actions: pull}
    - {repositories: secret, clients: anonymous, actions: []}
    - {repositories: "mine/*", clients: authenticated, actions: [pull, push]}
    - {repositories: "**", clients: anonymous, actions: pull}
)");
  const auto mount = [&](const std::string& from, const std::string& what, const std::string& who) {
    return ask(port, "POST",
               "/v2/mine/a/blobs/uploads/?mount=" + sha256(what).str() +
                   (from.empty() ? "" : "&from=" + from),
               who)
        .status;
  };
  EXPECT_EQ(mount("secret", "secret", kBob), 202) << "an upload like any other";
  EXPECT_EQ(mount("", "secret", kBob), 202) << "nor by the digest alone";
  EXPECT_EQ(mount("", "secret", kAnn), 202) << "who may not pull everything, even if that";
  EXPECT_EQ(ask(port, "HEAD", "/v2/mine/a/blobs/" + sha256("secret").str(), kBob).status, 404);
  EXPECT_EQ(mount("public", "public", kBob), 201);
  EXPECT_EQ(mount("secret", "secret", kAnn), 201);
  EXPECT_EQ(mount("secret", "secret", ""), 401);
}

TEST_F(RulesTest, AMountByTokenWithoutPullOfWhereTheBlobIs) {
  fill({"from"});
  const TokenSigner signer("P-256");
  const uint16_t port =
      start(with("auth: {token: {realm: 'https://t', service: s, issuer: i, rootcertbundle: " +
                 file("root.pem", signer.pem()) + ", jwks: " +
                 file("k.json", R"({"keys":[)" + signer.jwk(R"("kid":"test-key")") + "]}") +
                 "}}\n"))
          .port();
  const auto token = [&](const std::string& access) {
    return "Bearer " + signer.token("ES256", R"({"iss":"i","aud":"s","exp":)" +
                                                 std::to_string(std::time(nullptr) + 600) +
                                                 R"(,"access":[)" + access + "]}");
  };
  const std::string push = R"({"type":"repository","name":"to","actions":["pull","push"]})";
  const std::string pull = R"({"type":"repository","name":"from","actions":["pull"]})";
  const std::string target = "/v2/to/blobs/uploads/?from=from&mount=" + sha256("from").str();
  EXPECT_THAT(ask(port, "POST", target).header("WWW-Authenticate"),
              HasSubstr(R"(scope="repository:to:pull,push repository:from:pull")"));
  EXPECT_EQ(ask(port, "POST", target, token(push)).status, 202);
  EXPECT_EQ(ask(port, "POST", target, token(push + "," + pull)).status, 201);
}

TEST_F(RulesTest, TheEdgePullsWhatAnonymousMayNot) {
  fill({"a"});
  Config c = with(htpasswd());
  c.redirect.url = "https://cdn.example";
  c.redirect.bearer = "edge-secret";
  const uint16_t port = start(std::move(c)).port();
  const std::string blob = "/v2/a/blobs/" + sha256("a").str();
  EXPECT_EQ(ask(port, "GET", blob).status, 401);
  EXPECT_EQ(ask(port, "GET", blob, "Bearer edge-secreT").status, 401);
  EXPECT_EQ(ask(port, "GET", blob, kAnn).status, 302);
  EXPECT_EQ(ask(port, "GET", blob, "Bearer edge-secret").body, "a");
  EXPECT_EQ(ask(port, "POST", "/v2/a/blobs/uploads/", "Bearer edge-secret").status, 403);
  EXPECT_EQ(ask(port, "DELETE", blob, "Bearer edge-secret").status, 403);
}

// Anonymous pull, and push by the client certificate of one subject: Fedora's production.
TEST_F(RulesTest, ACertificateIsAUser) {
  test::CertificateAuthority ca(files().path(), "ca");
  const auto server = ca.issue_server();
  const auto pusher = ca.issue("pusher", {.common_name = "containerstable"});
  const auto other = ca.issue("other", {.common_name = "other"});
  const auto named = ca.issue("named", {.common_name = "n", .dns_names = {"builder.example"}});
  Config c = with("http: {tls: {clientcas: [" + ca.certificate().string() + R"(]}}
access:
  certificates:
    - {subject: "CN=containerstable", user: containerstable}
    - {san: builder.example, user: builder}
  rules:
    - {repositories: "**", users: [containerstable, builder], actions: [pull, push, delete]}
    - {repositories: "**", clients: anonymous, actions: pull}
)");
  c.tls = http::TlsOptions{{{server.certificate, server.key}}, {ca.certificate()}};
  const uint16_t port = start(std::move(c)).port();
  const auto push = [&](const test::CertificateFiles& files_of) {
    test::RawClient client(
        port, {.ca = ca.certificate(), .certificate = files_of.certificate, .key = files_of.key});
    EXPECT_EQ(client.get("/v2/").status, 200);
    client.send("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    return client.response().status;
  };
  EXPECT_EQ(push(pusher), 202);
  EXPECT_EQ(push(named), 202);
  EXPECT_EQ(push(other), 403);
  EXPECT_EQ(push({}), 403) << "there is nothing to answer a 401 with";
}

TEST_F(RulesTest, ACertificateIsAUserByAnyKindOfAlternativeName) {
  test::CertificateAuthority ca(files().path(), "ca");
  const auto server = ca.issue_server();
  Config c = with("http: {tls: {clientcas: [" + ca.certificate().string() + R"(]}}
access:
  base: authenticated
  certificates:
    - {san: "DNS:builder.example", user: dns}
    - {san: "email:ann@example.com", user: email}
    - {san: "URI:spiffe://example/builder", user: uri}
    - {san: "IP:2001:DB8:0::1", user: ip}
  rules: []
)");
  c.tls = http::TlsOptions{{{server.certificate, server.key}}, {ca.certificate()}};
  const uint16_t port = start(std::move(c)).port();
  const auto base = [&](test::CertificateRequest request) {
    request.common_name = "client";
    const auto files_of = ca.issue("client", request);
    test::RawClient client(
        port, {.ca = ca.certificate(), .certificate = files_of.certificate, .key = files_of.key});
    return client.get("/v2/").status;
  };
  EXPECT_EQ(base({.dns_names = {"builder.example"}}), 200);
  EXPECT_EQ(base({.names = {"email:ann@example.com"}}), 200);
  EXPECT_EQ(base({.names = {"URI:spiffe://example/builder"}}), 200);
  EXPECT_EQ(base({.addresses = {"2001:db8::1"}}), 200);
  // The same texts, as other kinds of names.
  EXPECT_EQ(base({.dns_names = {"email:ann@example.com", "ann@example.com", "2001:db8::1",
                                "IP:2001:db8::1", "spiffe://example/builder"}}),
            403);
  EXPECT_EQ(base({.names = {"URI:builder.example", "URI:email:ann@example.com"}}), 403);
}

// Basic for writes and for exactly /v2/, anonymous reads elsewhere: Fedora's candidate registry.
TEST_F(RulesTest, TheBaseCanAskForCredentials) {
  fill({"a"});
  const uint16_t port = start_with(R"(
access:
  base: authenticated
  rules:
    - {repositories: "**", clients: authenticated, actions: [pull, push, delete]}
    - {repositories: "**", clients: anonymous, actions: pull}
)");
  EXPECT_EQ(ask(port, "GET", "/v2/").status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
  EXPECT_EQ(ask(port, "OPTIONS", "/v2/a/manifests/latest").status, 401) << "as of the base";
  EXPECT_EQ(ask(port, "GET", "/v2/a/manifests/latest").status, 200);
  EXPECT_EQ(ask(port, "HEAD", "/v2/a/manifests/latest").status, 200);
  EXPECT_EQ(ask(port, "GET", "/v2/_catalog").status, 200);
  EXPECT_EQ(ask(port, "POST", "/v2/a/blobs/uploads/").status, 401);
  EXPECT_EQ(ask(port, "POST", "/v2/a/blobs/uploads/", kAnn).status, 202);
}

// What allows a request is of the configuration that its answer is made with, however fast
// configurations follow each other.
TEST_F(RulesTest, ARequestSeesOneConfiguration) {
  const auto open_to = [this](const std::string& repository) {
    Config c = with("access: {rules: [{repositories: " + repository +
                    ", clients: anonymous, actions: [pull, push]}]}\n");
    c.headers.add("X-Open", repository);
    return c;
  };
  const std::array<std::string, 2> repositories = {"a", "b"};
  Registry& registry = start(open_to("a"));
  for (const std::string& repository : repositories) {
    registry.reload(open_to(repository));
    push_image(registry.port(), repository, "latest", repository);
  }
  std::jthread reloading([&](const std::stop_token& stop) {
    for (size_t i = 0; !stop.stop_requested(); ++i) registry.reload(open_to(repositories[i % 2]));
  });
  test::RawClient client(registry.port());
  int allowed = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string& repository = repositories[static_cast<size_t>(i) % 2];
    const auto answer = client.get("/v2/" + repository + "/tags/list");
    if (answer.status != 200) continue;
    ++allowed;
    ASSERT_EQ(answer.headers.get("X-Open"), repository) << i;
  }
  EXPECT_GT(allowed, 0);
}

TEST_F(RulesTest, AReloadChangesTheRules) {
  Registry& registry = start(with(htpasswd()));
  EXPECT_EQ(ask(registry.port(), "GET", "/v2/_catalog").status, 401);
  registry.reload(with(
      htpasswd() + "access: {rules: [{repositories: '**', clients: anonymous, actions: pull}]}"));
  EXPECT_EQ(ask(registry.port(), "GET", "/v2/_catalog").status, 200);
}

}  // namespace
}  // namespace origin

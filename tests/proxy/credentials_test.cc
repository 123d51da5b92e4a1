// What an upstream's servers get to see of the edge: tokens, passwords, and nothing after a
// redirect elsewhere.
#include <thread>

#include "tests/proxy/edge_fixture.h"
#include "tests/support/certificates.h"

namespace proxy {
namespace {

namespace step = test::step;
using std::chrono::seconds;
using Script = test::FakeUpstream::Script;

class CredentialsTest : public EdgeTest {
 protected:
  TestBlob serve(const std::string& content, const std::string& repository = "app") {
    TestBlob blob(content, repository);
    upstream.serve_blob(blob.path, blob.bytes);
    return blob;
  }
  static test::FakeUpstream::Step challenge(const std::string& value) {
    http::Headers headers;
    headers.set("WWW-Authenticate", value);
    return step::respond(401, headers, "{}");
  }
  std::string bearer(const test::FakeUpstream& tokens) const {
    return "Bearer realm=\"" + tokens.url() + "/token\",service=\"r\",scope=\"repository:*:*\"";
  }
  // What the token server answers next.
  static void next_token(test::FakeUpstream& tokens, const std::string& token, int lifetime = 300) {
    tokens.script("/token", {step::respond(200, {},
                                           R"({"token":")" + token + R"(","expires_in":)" +
                                               std::to_string(lifetime) + "}")});
  }
  EdgeConfig with_password() {
    EdgeConfig config = EdgeTest::config();
    config.upstreams[0].username = "me";
    config.upstreams[0].password = "secret";
    return config;
  }
  // The edge may be led to loopback addresses.
  EdgeConfig with_redirects() {
    EdgeConfig config = EdgeTest::config();
    config.upstreams[0].redirects = RedirectRules::parse({"127.0.0.0/8"}).value();
    return config;
  }
  const std::string kBasic = "Basic bWU6c2VjcmV0";  // me:secret
};

TEST_F(CredentialsTest, AnonymousTokenIsFetchedOnceForARepository) {
  const TestBlob a = serve("a");
  const TestBlob b = serve("b");
  upstream.script(a.path, {step::expect_no_header("Authorization"), challenge(bearer(upstream))});
  upstream.script(a.path, {step::expect_header("Authorization", "Bearer t1")});
  upstream.script(b.path, {step::expect_header("Authorization", "Bearer t1")});
  next_token(upstream, "t1");
  start();
  EXPECT_EQ(get(a.path).body, a.bytes);
  EXPECT_EQ(get(b.path).body, b.bytes);
  EXPECT_EQ(upstream.count("/token"), 1U);
  EXPECT_EQ(upstream.requests()[1].target, "/token?service=r&scope=repository%3Aapp%3Apull");
  EXPECT_FALSE(upstream.requests()[1].headers.has("Authorization"));
}

TEST_F(CredentialsTest, ManyRequestsShareOneTokenRequest) {
  std::vector<TestBlob> blobs;
  for (int i = 0; i < 20; ++i) {
    blobs.push_back(serve("blob " + std::to_string(i)));
    upstream.script(blobs.back().path,
                    {step::expect_no_header("Authorization"), challenge(bearer(upstream))});
    upstream.script(blobs.back().path, {step::expect_header("Authorization", "Bearer t1")});
  }
  upstream.script("/token", {step::stall("token"), step::respond(200, {}, R"({"token":"t1"})")});
  start();
  std::vector<std::thread> clients;
  for (const TestBlob& blob : blobs) {
    clients.emplace_back([&] { EXPECT_EQ(get(blob.path).body, blob.bytes); });
  }
  upstream.wait_stalled("token");
  upstream.wait_complete(20);  // the challenges
  upstream.release("token");
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(upstream.count("/token"), 1U);
}

TEST_F(CredentialsTest, TokenThatExpiresInMidFillIsReplaced) {
  const TestBlob blob = serve(random_bytes(4 * kMiB));
  upstream.script(blob.path, {challenge(bearer(upstream))});
  upstream.script(blob.path, {step::expect_header("Authorization", "Bearer t1"),
                              step::send_upto(2 * kMiB), step::close()});
  upstream.script(blob.path,
                  {step::expect_header("Authorization", "Bearer t1"), challenge(bearer(upstream))});
  upstream.script(blob.path, {step::expect_header("Authorization", "Bearer t2"),
                              step::expect_header("Range", "bytes=2097152-")});
  next_token(upstream, "t1");
  next_token(upstream, "t2");
  start();
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size() + 4) << "and twice {}";
}

TEST_F(CredentialsTest, TokenIsForgottenBeforeItExpires) {
  const TestBlob a = serve("a");
  const TestBlob b = serve("b");
  upstream.script(a.path, {challenge(bearer(upstream))});
  next_token(upstream, "t1", 300);
  EdgeConfig config = EdgeTest::config();
  config.clock = &clock;
  start(std::move(config));
  EXPECT_EQ(get(a.path).body, a.bytes);
  clock.advance(seconds(290));
  upstream.script(b.path, {step::expect_no_header("Authorization")});
  EXPECT_EQ(get(b.path).body, b.bytes);
}

TEST_F(CredentialsTest, NoTokenIsAClearError) {
  const TestBlob blob = serve("x");
  upstream.script(blob.path, {challenge(bearer(upstream))});
  upstream.script("/token", {step::respond(403)});
  EdgeConfig config = EdgeTest::config();
  config.upstreams[0].absent_lifetime = base::Duration(0);
  start(std::move(config));
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  upstream.script(blob.path, {challenge("Bearer realm=\"nowhere\"")});
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  upstream.script(blob.path, {challenge("Basic realm=\"x\"")});
  expect_error(get(blob.path), 502, "UNAVAILABLE");
}

TEST_F(CredentialsTest, PasswordIsShownWhenAskedForAndFromThenOn) {
  const TestBlob a = serve("a");
  const TestBlob b = serve("b", "other");
  upstream.script(a.path,
                  {step::expect_no_header("Authorization"), challenge("Basic realm=\"x\"")});
  upstream.script(a.path, {step::expect_header("Authorization", kBasic)});
  upstream.script(b.path, {step::expect_header("Authorization", kBasic)});
  start(with_password());
  EXPECT_EQ(get(a.path).body, a.bytes);
  EXPECT_EQ(get(b.path).body, b.bytes);
  EXPECT_EQ(upstream.count(a.path), 2U);
}

TEST_F(CredentialsTest, WrongPasswordIsAnErrorAndNotRepeated) {
  const TestBlob blob = serve("a");
  for (int i = 0; i < 2; ++i) upstream.script(blob.path, {challenge("Basic realm=\"x\"")});
  start(with_password());
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(upstream.count(blob.path), 2U);
}

TEST_F(CredentialsTest, PasswordGoesToATokenServerOfTheSameHost) {
  test::FakeUpstream tokens;
  const TestBlob blob = serve("a");
  upstream.script(blob.path, {challenge(bearer(tokens))});
  upstream.script(blob.path, {step::expect_header("Authorization", "Bearer t1")});
  tokens.script("/token", {step::expect_header("Authorization", kBasic),
                           step::respond(200, {}, R"({"access_token":"t1"})")});
  start(with_password());
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(tokens.requests().size(), 1U);
}

TEST_F(CredentialsTest, PasswordGoesToNoOtherHostOfTheUpstreamsChoice) {
  test::FakeUpstream tokens;
  const TestBlob blob = serve("a");
  const std::string realm = "http://localhost:" + std::to_string(tokens.port()) + "/token";
  upstream.script(blob.path, {challenge("Bearer realm=\"" + realm + "\"")});
  start(with_password());
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(tokens.connections(), 0U);
}

TEST_F(CredentialsTest, PasswordGoesToAHostThatIsListed) {
  test::FakeUpstream tokens;
  const TestBlob blob = serve("a");
  const std::string realm = "http://localhost:" + std::to_string(tokens.port()) + "/token";
  upstream.script(blob.path, {challenge("Bearer realm=\"" + realm + "\"")});
  tokens.script("/token", {step::expect_header("Authorization", kBasic),
                           step::respond(200, {}, R"({"token":"t1"})")});
  EdgeConfig config = with_password();
  config.upstreams[0].realm_hosts = {"localhost"};
  start(std::move(config));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(CredentialsTest, NoRealmLeadsAnAnonymousEdgeToPrivateAddresses) {
  test::FakeUpstream tokens;
  const TestBlob blob = serve("a");
  const std::string realm = "http://localhost:" + std::to_string(tokens.port()) + "/token";
  for (int i = 0; i < 10; ++i) {
    upstream.script(blob.path, {challenge("Bearer realm=\"" + realm + "\"")});
  }
  start();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(tokens.connections(), 0U);
}

// ---- redirects ------------------------------------------------------------------------------

TEST_F(CredentialsTest, RedirectIsFollowedWithoutCredentials) {
  test::FakeUpstream storage;
  const TestBlob blob = serve(random_bytes(4 * kMiB));
  storage.serve_blob("/data", blob.bytes);
  storage.script(
      "/data", {step::expect_no_header("Authorization"), step::send_upto(2 * kMiB), step::close()});
  storage.script("/data", {step::expect_no_header("Authorization"),
                           step::expect_header("Range", "bytes=2097152-")});
  for (const char* signature : {"1", "2"}) {
    upstream.script(blob.path,
                    {step::expect_header("Authorization", "Bearer shared"),
                     step::redirect(storage.url() + "/data?signature=" + signature, 307)});
  }
  EdgeConfig config = with_redirects();
  config.upstreams[0].bearer = "shared";
  start(std::move(config));
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  EXPECT_EQ(storage.bytes_sent("/data"), blob.bytes.size());
  EXPECT_EQ(storage.requests()[1].target, "/data?signature=2") << "resolved anew";
}

TEST_F(CredentialsTest, RedirectOnTheSameServerKeepsThem) {
  const TestBlob blob = serve("a");
  upstream.serve_blob("/elsewhere", blob.bytes);
  upstream.script(blob.path, {step::redirect("/elsewhere")});
  upstream.script("/elsewhere", {step::expect_header("Authorization", "Bearer shared")});
  EdgeConfig config = EdgeTest::config();  // nothing is listed: it is the upstream itself
  config.upstreams[0].bearer = "shared";
  start(std::move(config));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(CredentialsTest, RedirectToAPrivateAddressIsRefused) {
  test::FakeUpstream inside;
  const TestBlob blob = serve("a");
  inside.serve_blob("/data", blob.bytes);
  const std::string port = std::to_string(inside.port());
  start();
  for (const std::string host : {"127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"}) {
    for (size_t i = 0; i < UpstreamConfig().rounds; ++i) {
      upstream.script(blob.path, {step::redirect("http://" + host + ":" + port + "/data")});
    }
    expect_error(get(blob.path), 502, "UNAVAILABLE");
  }
  EXPECT_EQ(inside.connections(), 0U);
}

TEST_F(CredentialsTest, RedirectToAListedHostIsFollowed) {
  test::FakeUpstream inside;
  const TestBlob blob = serve("a");
  inside.serve_blob("/data", blob.bytes);
  upstream.script(blob.path,
                  {step::redirect("http://localhost:" + std::to_string(inside.port()) + "/data")});
  EdgeConfig config = EdgeTest::config();
  config.upstreams[0].redirects = RedirectRules::parse({"localhost"}).value();
  start(std::move(config));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(CredentialsTest, FiveRedirectsAreEnough) {
  const TestBlob good = serve("good");
  const TestBlob bad = serve("bad");
  for (int i = 0; i < 5; ++i) upstream.script(good.path, {step::redirect(good.path)});
  for (int i = 0; i < 100; ++i) upstream.script(bad.path, {step::redirect(bad.path)});
  EdgeConfig config = EdgeTest::config();
  config.upstreams[0].rounds = 1;
  start(std::move(config));
  EXPECT_EQ(get(good.path).body, good.bytes);
  expect_error(get(bad.path), 502, "UNAVAILABLE");
  EXPECT_EQ(upstream.count(bad.path), 6U);
}

TEST_F(CredentialsTest, NeverFromHttpsToHttp) {
  test::CertificateAuthority authority(directory.path(), "ca");
  const test::CertificateFiles files = authority.issue_server();
  test::FakeUpstream secure({.certificate = files.certificate, .key = files.key});
  const TestBlob blob = serve("a");
  secure.serve_blob(blob.path, blob.bytes);
  for (size_t i = 0; i < UpstreamConfig().rounds; ++i) {
    secure.script(blob.path, {step::redirect(upstream.url() + blob.path)});
  }
  EdgeConfig config = with_redirects();
  config.upstreams[0].urls = {secure.url()};
  config.upstreams[0].client.ca_file = authority.certificate();
  start(std::move(config));
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(upstream.connections(), 0U);
}

TEST_F(CredentialsTest, ClientCertificateIsNotShownElsewhere) {
  test::CertificateAuthority authority(directory.path(), "ca");
  const test::CertificateFiles files = authority.issue_server();
  const test::CertificateFiles ours = authority.issue("edge", {.common_name = "edge-1"});
  const test::FakeUpstream::Options demanding{
      .certificate = files.certificate, .key = files.key, .client_ca = authority.certificate()};
  test::FakeUpstream home(demanding);
  test::FakeUpstream elsewhere(demanding);
  const TestBlob blob("a");
  const TestBlob moved("b");
  home.serve_blob(blob.path, blob.bytes);
  elsewhere.serve_blob("/data", moved.bytes);
  home.script(moved.path, {step::redirect(elsewhere.url() + "/data")});
  EdgeConfig config = with_redirects();
  UpstreamConfig& to = config.upstreams[0];
  to.redirects = RedirectRules::parse({"127.0.0.0/8", "::1"}).value();
  to.urls = {home.url()};
  to.rounds = 1;
  to.client.ca_file = authority.certificate();
  to.client.certificate = ours.certificate;
  to.client.key = ours.key;
  start(std::move(config));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  expect_error(get(moved.path), 502, "UNAVAILABLE");
  EXPECT_EQ(home.count(moved.path), 1U);
  EXPECT_EQ(elsewhere.requests().size(), 0U) << "it demands a certificate and got none";
}

}  // namespace
}  // namespace proxy

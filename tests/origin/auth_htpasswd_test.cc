// htpasswd from a client's side, over real sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>

#include "base/fault_point.h"
#include "origin/auth/bcrypt.h"
#include "tests/origin/auth_fixture.h"
#include "tests/support/raw_client.h"

namespace origin {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Bcrypt, TheThreeVersionsAndWhatIsNone) {
  // Of crypt_blowfish's own test vectors: the password is "U*U".
  const std::string rest = "$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  for (const std::string version : {"$2a", "$2b", "$2y"}) {
    EXPECT_TRUE(auth::valid_bcrypt(version + rest));
    EXPECT_TRUE(auth::bcrypt_matches("U*U", version + rest));
    EXPECT_FALSE(auth::bcrypt_matches("U*V", version + rest));
  }
  EXPECT_FALSE(auth::valid_bcrypt("$2x" + rest));
  EXPECT_FALSE(auth::valid_bcrypt("$2y" + rest + "a"));
  EXPECT_FALSE(auth::valid_bcrypt(""));
  EXPECT_TRUE(auth::valid_bcrypt(auth::impossible_bcrypt(12)));
  EXPECT_EQ(auth::bcrypt_cost(auth::impossible_bcrypt(12)), 12U);
  EXPECT_FALSE(auth::bcrypt_matches("", auth::impossible_bcrypt(4)));
}

using HtpasswdTest = AuthTest;

TEST_F(HtpasswdTest, OnlyUsersMayDoAnythingAndThenEverything) {
  const uint16_t port = start(with(htpasswd())).port();
  for (const std::string target : {"/v2/", "/v2/_catalog", "/v2/a/tags/list"}) {
    const auto answer = ask(port, "GET", target);
    EXPECT_EQ(answer.status, 401) << target;
    EXPECT_EQ(answer.header("WWW-Authenticate"), R"(Basic realm="The \"realm\"")");
    EXPECT_EQ(error_code(answer), "UNAUTHORIZED");
  }
  EXPECT_THAT(
      ask(port, "GET", "/v2/bench/a/tags/list").body,
      HasSubstr(R"("detail":[{"Type":"repository","Class":"","Name":"bench/a","Action":"pull"}])"));
  EXPECT_THAT(ask(port, "GET", "/v2/").body, HasSubstr(R"("detail":null)"));
  EXPECT_EQ(ask(port, "HEAD", "/v2/").status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
  EXPECT_EQ(ask(port, "GET", "/v2/", basic("ann", "word")).status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", "Bearer x.y.z").status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", "nonsense").status, 401);
  EXPECT_EQ(ask(port, "GET", "/").status, 200) << "health checks have no password";
  EXPECT_EQ(ask(port, "GET", "/nothing").status, 404);

  const std::string blob = "content";
  const std::string push = "/v2/a/blobs/uploads/?digest=" + sha256(blob).str();
  EXPECT_EQ(ask(port, "POST", push, "", blob).status, 401);
  EXPECT_EQ(ask(port, "POST", push, kAnn, blob).status, 201);
  EXPECT_EQ(ask(port, "GET", "/v2/a/blobs/" + sha256(blob).str(), basic("bob", "word")).body, blob);
  EXPECT_EQ(ask(port, "DELETE", "/v2/a/blobs/" + sha256(blob).str(), kAnn).status, 202);
}

TEST_F(HtpasswdTest, AThousandRequestsCostOneBcrypt) {
  const uint16_t port = start(with(htpasswd())).port();
  std::atomic<int> computations = 0;
  const base::InjectedFault count("bcrypt", [&](std::string_view) {
    ++computations;
    return 0;
  });
  const auto begun = std::chrono::steady_clock::now();
  test::RawClient client(port);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(client.get("/v2/", "Authorization: " + kAnn + "\r\n").status, 200) << i;
  }
  // One, and another after each minute: a slow machine may take more than that.
  EXPECT_GE(computations, 1);
  EXPECT_LE(computations, 1 + (std::chrono::steady_clock::now() - begun) / std::chrono::minutes(1));
}

TEST_F(HtpasswdTest, ABcryptThatFailsLetsNobodyIn) {
  const uint16_t port = start(with(htpasswd())).port();
  {
    const base::InjectedFault fault("bcrypt", ENOMEM);
    EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 500);
  }
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
}

TEST_F(HtpasswdTest, GuessesGet429AndTheUserDoesNot) {
  const uint16_t port = start(with(htpasswd())).port();
  ASSERT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
  test::Fetched last;
  for (int i = 0; i < 60 && last.status != 429; ++i) {
    last = ask(port, "GET", "/v2/", basic("bob", "guess" + std::to_string(i)));
    ASSERT_THAT(last.status, AnyOf(401, 429));
  }
  EXPECT_EQ(last.status, 429);
  EXPECT_EQ(error_code(last), "TOOMANYREQUESTS");
  EXPECT_GE(std::stoi(last.header("Retry-After")), 1);
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
}

TEST_F(HtpasswdTest, NothingLeaksAndAFloodIsLoggedOnce) {
  test::LogCapture log;
  const uint16_t port = start(with(htpasswd())).port();
  std::string bodies;
  for (int i = 0; i < 200; ++i) {
    const auto answer =
        ask(port, "GET", "/v2/a/tags/list", basic("ann" + std::to_string(i), "hunter2"));
    bodies += answer.body;
    for (const auto& field : answer.headers) bodies += field.name + ": " + field.value + "\n";
  }
  bodies += ask(port, "GET", "/v2/", kAnn).body;
  EXPECT_EQ(log.count("wrong password"), 2U) << log.text();  // and that it has to wait
  EXPECT_EQ(log.count("too many wrong passwords"), 1U);
  const std::string encoded = kAnn.substr(6);
  for (const std::string& secret : {std::string("hunter2"), std::string("secret"), encoded,
                                    basic("ann0", "hunter2").substr(6), std::string("$2")}) {
    EXPECT_THAT(log.text(), Not(HasSubstr(secret)));
    EXPECT_THAT(bodies, Not(HasSubstr(secret)));
  }
}

TEST_F(HtpasswdTest, EachProxyThatIsNotTrustedIsNamedOnce) {
  test::LogCapture log;
  Registry& registry = start(with(htpasswd()));
  const auto asks_for_another = [&](const std::string& peer, const std::string& authorization) {
    const std::string field =
        authorization.empty() ? "" : "Authorization: " + authorization + "\r\n";
    return test::RawClient::from(peer, registry.port())
        .get("/v2/", "X-Forwarded-For: 192.0.2.1\r\n" + field)
        .status;
  };
  EXPECT_EQ(asks_for_another("127.0.0.1", ""), 401);
  EXPECT_EQ(ask(registry.port(), "GET", "/v2/", kAnn).status, 200);
  EXPECT_EQ(log.count("server.trusted_proxies"), 0U) << log.text();
  for (const std::string peer : {"127.0.0.1", "127.0.0.2"}) {
    for (int i = 0; i < 3; ++i) EXPECT_EQ(asks_for_another(peer, kAnn), 200);
    EXPECT_EQ(log.count(peer + " sends X-Forwarded-For or Forwarded and is not believed"), 1U);
  }
  Config trusting = with(htpasswd());
  trusting.limits.trusted_proxies.networks = {*http::Network::parse("127.0.0.3")};
  registry.reload(trusting);
  for (const std::string peer : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    EXPECT_EQ(asks_for_another(peer, kAnn), 200);
  }
  EXPECT_EQ(log.count("server.trusted_proxies"), 2U) << log.text();
}

TEST_F(HtpasswdTest, BehindAUnixSocketEachClientFailsForItself) {
  Config c = with(htpasswd());
  const std::string path = (files().path() / "socket").string();
  c.address = "unix:" + path;
  c.limits.trusted_proxies.unix_socket = true;
  start(std::move(c));
  test::RawClient proxy = test::RawClient::unix_socket(path);
  const auto from = [&](const std::string& client, const std::string& authorization) {
    return proxy
        .get("/v2/", "X-Forwarded-For: " + client + "\r\nAuthorization: " + authorization + "\r\n")
        .status;
  };
  int status = 0;
  for (int i = 0; i < 60 && status != 429; ++i) {
    status = from("192.0.2.1", basic("ann", "guess" + std::to_string(i)));
  }
  EXPECT_EQ(status, 429);
  EXPECT_EQ(from("192.0.2.2", kAnn), 200);
}

TEST_F(HtpasswdTest, AnEmptyNameIsNobody) {
  const std::string access =
      "access: {rules: [{repositories: open, clients: anonymous, actions: pull}]}\n";
  const uint16_t port = start(with(htpasswd() + access)).port();
  test::LogCapture log;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(ask(port, "GET", "/v2/closed/tags/list", basic("", "")).status, 401);
  }
  EXPECT_EQ(ask(port, "GET", "/v2/open/tags/list", basic("", "")).status, 404);
  EXPECT_EQ(log.text(), "");
}

TEST_F(HtpasswdTest, NamesCannotForgeLogLines) {
  test::LogCapture log;
  const uint16_t port = start(with(htpasswd())).port();
  EXPECT_EQ(ask(port, "GET", "/v2/", basic("x\r\nE0101 forged", "p")).status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", basic("\xff\xfe\"quoted", "p")).status, 401);
  EXPECT_THAT(log.text(), Not(HasSubstr("\nE0101")));
  EXPECT_THAT(log.text(), HasSubstr("\\xff\\xfe"));
}

TEST_F(HtpasswdTest, TheBodyIsNotAskedForBeforeItIsKnownWhoSendsIt) {
  const uint16_t port = start(with(htpasswd())).port();
  test::RawClient client(port);
  client.send(
      "POST /v2/a/blobs/uploads/?digest=sha256:00 HTTP/1.1\r\nHost: x\r\n"
      "Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.response().status, 401);

  test::RawClient user(port);
  user.send("POST /v2/a/blobs/uploads/?digest=" + sha256("body").str() +
            " HTTP/1.1\r\nHost: x\r\nAuthorization: " + kAnn +
            "\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(user.response().status, 100);
  user.send("body");
  EXPECT_EQ(user.response().status, 201);
}

TEST_F(HtpasswdTest, AReloadReadsTheFileAndKeepsWhatWasCounted) {
  Registry& registry = start(with(htpasswd()));
  const uint16_t port = registry.port();
  ASSERT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200);
  std::optional<base::InjectedFault> none(std::in_place, "bcrypt", ENOMEM);
  registry.reload(with(
      "auth: {htpasswd: {realm: other, path: " + (files().path() / "htpasswd").string() + "}}\n"));
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 200) << "remembered over the reload";
  none.reset();
  EXPECT_EQ(ask(port, "GET", "/v2/").header("WWW-Authenticate"), R"(Basic realm="other")");

  registry.reload(with("auth: {htpasswd: {realm: other, path: " +
                       file("new", "carol:" + bcrypt("new") + "\n") + "}}\n"));
  EXPECT_EQ(ask(port, "GET", "/v2/", kAnn).status, 401);
  EXPECT_EQ(ask(port, "GET", "/v2/", basic("carol", "new")).status, 200);
}

}  // namespace
}  // namespace origin

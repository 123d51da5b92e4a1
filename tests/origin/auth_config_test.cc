// The sections "auth" and "access": what they mean, and that every mistake is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "origin/auth/config.h"
#include "tests/origin/token_signer.h"
#include "tests/support/temp_dir.h"

namespace origin::auth {
namespace {

using ::testing::HasSubstr;

class AuthConfigTest : public ::testing::Test {
 protected:
  AuthConfig read(const std::string& text) const {
    return read_auth(base::ConfigFile(dir_.write("config.yml", text)).root());
  }
  std::string error(const std::string& text) const {
    try {
      read(text);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "no error";
  }
  std::string file(std::string_view name, std::string_view content) const {
    return dir_.write(name, content).string();
  }
  test::TempDir dir_;
};

TEST_F(AuthConfigTest, NothingIsOpen) {
  for (const char* text : {"version: 0.1\n", "auth: {none: {}}\n", "auth: {none: }\n"}) {
    const AuthConfig config = read(text);
    EXPECT_FALSE(config.htpasswd || config.token) << text;
    EXPECT_TRUE(config.rules->allows({}, "a", Action::remove)) << text;
  }
}

TEST_F(AuthConfigTest, ASchemeClosesTheRegistry) {
  const AuthConfig config =
      read("auth: {htpasswd: {realm: r, path: " + file("htpasswd", "") + "}}\n");
  ASSERT_TRUE(config.htpasswd);
  EXPECT_EQ(config.htpasswd->realm, "r");
  EXPECT_FALSE(config.rules->allows({}, "a", Action::pull));
  EXPECT_TRUE(config.rules->allows({true, "u"}, "a", Action::remove));
}

TEST_F(AuthConfigTest, Rules) {
  const AuthConfig config = read(R"(
http: {tls: {clientcas: [ca.pem]}}
access:
  base: authenticated
  groups: {team: [ann, bob]}
  certificates:
    - {subject: "CN=x", user: x}
    - {san: y.example, user: y}
    - {san: "IP:2001:DB8::1", user: z}
  rules:
    - {repositories: "team/**", groups: team, users: [x], actions: [pull, push, delete]}
    - {repositories: ["**"], clients: anonymous, actions: pull}
)");
  EXPECT_TRUE(config.base_authenticated);
  ASSERT_EQ(config.certificates.size(), 3U);
  EXPECT_EQ(config.certificates[1].alternative_name, "y.example");
  EXPECT_TRUE(config.rules->allows({true, "bob"}, "team/a", Action::remove));
  EXPECT_TRUE(config.rules->allows({true, "x"}, "team/a", Action::push));
  EXPECT_FALSE(config.rules->allows({true, "y"}, "team/a", Action::push));
  EXPECT_TRUE(config.rules->allows({}, "a", Action::pull));
}

TEST_F(AuthConfigTest, MistakesAreNamed) {
  EXPECT_THAT(error("auth: {ldap: {}}\n"), HasSubstr("auth.ldap: expected htpasswd or token"));
  EXPECT_THAT(error("auth: {silly: {realm: r}}\n"), HasSubstr("lets in whoever"));
  EXPECT_THAT(error("auth: {none: {}, htpasswd: {}}\n"), HasSubstr("one scheme only"));
  EXPECT_THAT(error("auth: {htpasswd: {realm: r, path: /nowhere}}\n"),
              HasSubstr("config.yml:1:35: auth.htpasswd.path: expected a file that can be read"));
  EXPECT_THAT(error("auth: {htpasswd: {realm: \"a\\r\\nb\", path: p}}\n"),
              HasSubstr("control characters"));
  const std::string token = "auth: {token: {realm: 'https://t', service: s, issuer: i";
  EXPECT_THAT(error(token + "}}\n"), HasSubstr("auth.token.rootcertbundle"));
  EXPECT_THAT(error(token + ", rootcertbundle: /nowhere}}\n"), HasSubstr("no such file"));
  EXPECT_THAT(error(token + ", rootcertbundle: " + file("empty.pem", "") + "}}\n"),
              HasSubstr("no PEM certificate"));
  EXPECT_THAT(
      error(token + ", jwks: " + file("oct.json", R"({"keys":[{"kty":"oct","k":"AA"}]})") + "}}\n"),
      HasSubstr("symmetric"));
  EXPECT_THAT(error(token + ", jwks: " + file("bad.json", "{") + "}}\n"), HasSubstr("not JSON"));
  EXPECT_THAT(error(token + ", signingalgorithms: [HS256]}}\n"), HasSubstr("never HS*"));
  EXPECT_THAT(error(token + ", signingalgorithms: [none]}}\n"), HasSubstr("never none"));

  EXPECT_THAT(error("access: {certificates: [{subject: CN=x, user: u}]}\n"),
              HasSubstr("clientcas"));
  const std::string ca = "http: {tls: {clientcas: [c]}}\n";
  EXPECT_THAT(error(ca + "access: {certificates: [{subject: CN=x, san: y, user: u}]}\n"),
              HasSubstr("either a subject or a san"));
  for (const std::string san : {"mail:ann@example.com", "IP:builder", "IP:192.0.2.1/24", "uri:x"}) {
    EXPECT_THAT(error(ca + "access: {certificates: [{san: '" + san + "', user: u}]}\n"),
                HasSubstr("access.certificates[0].san: expected a DNS name, email:"));
  }
  const auto rule = [](const std::string& text) { return "access: {rules: [{" + text + "}]}\n"; };
  EXPECT_THAT(error(rule("clients: anonymous, actions: pull")), HasSubstr("repositories"));
  EXPECT_THAT(error(rule("repositories: 'A*', clients: anonymous, actions: pull")),
              HasSubstr("globs"));
  EXPECT_THAT(error(rule("repositories: '**', actions: pull")), HasSubstr("users"));
  EXPECT_THAT(error(rule("repositories: '**', groups: x, actions: pull")), HasSubstr("groups"));
  EXPECT_THAT(error(rule("repositories: '**', clients: everybody, actions: pull")),
              HasSubstr("anonymous"));
  EXPECT_THAT(error(rule("repositories: '**', clients: anonymous")), HasSubstr("actions"));
  EXPECT_THAT(error(rule("repositories: '**', clients: anonymous, actions: write")),
              HasSubstr("push"));
}

}  // namespace
}  // namespace origin::auth

#include "proxy/token_request.h"

#include <gtest/gtest.h>

namespace proxy {
namespace {

using std::chrono::seconds;

bool allowed(std::string_view realm, std::string_view upstream,
             const std::vector<std::string>& listed = {}) {
  return may_have_credentials(http::parse_url(realm).value(), http::parse_url(upstream).value(),
                              listed);
}

TEST(TokenRequest, PasswordStaysInTheDomain) {
  EXPECT_TRUE(allowed("https://auth.docker.io/token", "https://registry-1.docker.io"));
  EXPECT_TRUE(allowed("https://quay.io/v2/auth", "https://quay.io"));
  EXPECT_TRUE(allowed("https://quay.io:8443/v2/auth", "https://quay.io"));
  EXPECT_FALSE(allowed("https://evil.example/token", "https://registry-1.docker.io"));
  EXPECT_FALSE(allowed("https://docker.io.evil.example/", "https://registry-1.docker.io"));
  EXPECT_FALSE(allowed("https://notdocker.io/token", "https://registry-1.docker.io"));
}

TEST(TokenRequest, PublicSuffixesAreNoDomain) {
  EXPECT_FALSE(allowed("https://evil.co.uk/token", "https://registry.co.uk"));
  EXPECT_TRUE(allowed("https://auth.shop.co.uk/token", "https://registry.shop.co.uk"));
  EXPECT_FALSE(allowed("https://mallory.github.io/token", "https://alice.github.io"));
  EXPECT_FALSE(allowed("https://auth.internal/token", "https://registry.internal"));
  EXPECT_FALSE(allowed("https://com/token", "https://registry.com"));
}

TEST(TokenRequest, AddressesAndLocalhostOnlyIfTheUpstreamIsThere) {
  EXPECT_FALSE(allowed("https://127.0.0.1/token", "https://registry.example"));
  EXPECT_FALSE(allowed("https://localhost/token", "https://registry.example"));
  EXPECT_FALSE(allowed("https://a.localhost/token", "https://b.localhost"));
  EXPECT_FALSE(allowed("https://[::1]/token", "https://registry.example"));
  EXPECT_FALSE(allowed("https://10.0.0.2/token", "https://10.0.0.1"));
  EXPECT_TRUE(allowed("http://localhost:81/token", "http://localhost:80"));
  EXPECT_TRUE(allowed("https://10.0.0.1:444/token", "https://10.0.0.1"));
}

TEST(TokenRequest, NeverFromHttpsToHttp) {
  EXPECT_FALSE(allowed("http://quay.io/token", "https://quay.io"));
  EXPECT_FALSE(allowed("http://quay.io/token", "https://quay.io", {"quay.io"}));
  EXPECT_TRUE(allowed("https://quay.io/token", "http://quay.io"));
}

TEST(TokenRequest, ListedHosts) {
  EXPECT_TRUE(allowed("https://sso.example/token", "https://registry.other", {"SSO.example"}));
  EXPECT_FALSE(allowed("https://x.sso.example/token", "https://registry.other", {"sso.example"}));
}

TEST(TokenRequest, Url) {
  const http::Url upstream = http::parse_url("https://registry.example").value();
  const auto url = [&](std::string_view challenge, const std::string& scope) {
    const auto asked = token_request(http::parse_challenges(challenge).at(0), upstream, scope);
    return asked ? asked->url : "none";
  };
  EXPECT_EQ(url(R"(Bearer realm="https://a.example/t",service="r x",scope="registry:catalog:*")",
                "repository:a/b:pull"),
            "https://a.example/t?service=r%20x&scope=repository%3Aa%2Fb%3Apull");
  EXPECT_EQ(url(R"(Bearer realm="https://a.example/t?x=1")", ""), "https://a.example/t?x=1");
  EXPECT_EQ(url("Bearer service=a", "s"), "none");
  EXPECT_EQ(url(R"(Bearer realm="/token")", "s"), "none");
  EXPECT_EQ(url(R"(Bearer realm="http://a.example/t")", "s"), "none");
  EXPECT_EQ(url(R"(Bearer realm="https://user@a.example/t")", "s"), "none");
}

TEST(TokenRequest, Answers) {
  EXPECT_EQ(parse_token(R"({"token":"abc","expires_in":300})")->text, "abc");
  EXPECT_EQ(parse_token(R"({"token":"abc","expires_in":300})")->lifetime, seconds(290));
  EXPECT_EQ(parse_token(R"({"access_token":"abc"})")->text, "abc");
  EXPECT_EQ(parse_token(R"({"access_token":"abc"})")->lifetime, seconds(50));
  EXPECT_EQ(parse_token(R"({"token":"","access_token":"b","expires_in":4})")->text, "b");
  EXPECT_EQ(parse_token(R"({"token":"b","expires_in":4})")->lifetime, seconds(3));
  EXPECT_LE(parse_token(R"({"token":"b","expires_in":9000000000})")->lifetime, seconds(86400));
  for (const char* bad : {"", "[]", "\"abc\"", "{}", R"({"token":1})", R"({"token":""})",
                          R"({"token":"a b"})", R"({"token":"a\r\nX: y"})", R"({"token":"a")"}) {
    EXPECT_FALSE(parse_token(bad)) << bad;
  }
}

}  // namespace
}  // namespace proxy

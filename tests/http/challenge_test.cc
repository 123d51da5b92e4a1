#include "http/challenge.h"

#include <gtest/gtest.h>

namespace http {
namespace {

// "scheme name=value name=value; scheme …"
std::string parsed(std::string_view text) {
  std::string all;
  for (const Challenge& challenge : parse_challenges(text)) {
    if (!all.empty()) all += "; ";
    all += challenge.scheme;
    for (const auto& [name, value] : challenge.parameters) {
      all.append(" ").append(name).append("=").append(value);
    }
  }
  return all;
}

TEST(Challenge, TheTokenFlows) {
  EXPECT_EQ(parsed(R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io")"),
            "bearer realm=https://auth.docker.io/token service=registry.docker.io");
  const auto all = parse_challenges(R"(BEARER Realm="https://a/t?x=1", scope="a:b:pull,push")");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].parameter("realm"), "https://a/t?x=1");
  EXPECT_EQ(all[0].parameter("scope"), "a:b:pull,push");
  EXPECT_EQ(all[0].parameter("service"), std::nullopt);
}

TEST(Challenge, SeveralOfThem) {
  EXPECT_EQ(parsed(R"(Basic realm="x", Bearer realm=y, error="invalid_token")"),
            "basic realm=x; bearer realm=y error=invalid_token");
  EXPECT_EQ(parsed("Negotiate dGV4dA==, Basic realm=a"), "negotiate; basic realm=a");
  EXPECT_EQ(parsed("Negotiate, NTLM"), "negotiate; ntlm");
  EXPECT_EQ(parsed(",, Basic\trealm = \"a\" ,, charset=utf-8,"), "basic realm=a charset=utf-8");
}

TEST(Challenge, QuotedStrings) {
  EXPECT_EQ(parsed(R"(Basic realm="a \"b\" \\ , c=d")"), R"(basic realm=a "b" \ , c=d)");
  EXPECT_EQ(parsed(R"(Basic realm="")"), "basic realm=");
}

TEST(Challenge, MalformedEndsTheList) {
  EXPECT_EQ(parsed(""), "");
  EXPECT_EQ(parsed("=x"), "");
  EXPECT_EQ(parsed("Basic realm=\"open"), "");
  EXPECT_EQ(parsed("Basic realm=\"a\rb\""), "");
  EXPECT_EQ(parsed("Basic realm=a b=c"), "");
  EXPECT_EQ(parsed("Basic realm=a, \"quoted\""), "basic realm=a");
}

}  // namespace
}  // namespace http

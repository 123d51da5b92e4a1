#include "origin/upload_token.h"

#include <gtest/gtest.h>

namespace origin {
namespace {

constexpr std::string_view kId = "d8afaa94-0f01-4e27-9161-2c38e72c0e01";
// Made by Python's hmac and base64 from the JSON that Go's encoder writes.
constexpr std::string_view kToken =
    "LKoQrJxjFUd8qdLdHteg-lNWoOK3f2FZN2XbgX6PRel7Ik5hbWUiOiJhL2IiLCJVVUlEIjoiZDhhZmFh"
    "OTQtMGYwMS00ZTI3LTkxNjEtMmMzOGU3MmMwZTAxIiwiT2Zmc2V0IjoxMjM0LCJTdGFydGVkQXQiOiIy"
    "MDI2LTExLTI0VDEwOjI3OjM1WiJ9";

TEST(UploadToken, HasDistributionsFormat) {
  const UploadTokens tokens("the secret");
  EXPECT_EQ(tokens.issue({"a/b", std::string(kId), 1234}, "2026-11-24T10:27:35Z"), kToken);
  const auto token = tokens.read(kToken);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->repository, "a/b");
  EXPECT_EQ(token->id, kId);
  EXPECT_EQ(token->offset, 1234U);
}

TEST(UploadToken, EveryLengthSurvives) {
  const UploadTokens tokens("s");
  for (std::string id; id.size() < 8; id += 'x') {
    const auto token = tokens.read(tokens.issue({"a", id, 0}, "2026-11-24T10:27:35Z"));
    ASSERT_TRUE(token) << id;
    EXPECT_EQ(token->id, id);
  }
}

TEST(UploadToken, AnUnusableStartGetsAStandIn) {
  const UploadTokens tokens("s");
  EXPECT_EQ(tokens.issue({"a", "x", 0}, "\"}"), tokens.issue({"a", "x", 0}, ""));
  EXPECT_TRUE(tokens.read(tokens.issue({"a", "x", 0}, "")));
}

TEST(UploadToken, ForgeriesAreRefused) {
  const UploadTokens tokens("the secret");
  EXPECT_FALSE(UploadTokens("another secret").read(kToken));
  EXPECT_FALSE(tokens.read(""));
  EXPECT_FALSE(tokens.read("===="));
  EXPECT_FALSE(tokens.read(std::string(10000, 'A')));
  EXPECT_FALSE(tokens.read(kToken.substr(0, 40)));
  for (const size_t i : {size_t{0}, size_t{20}, size_t{50}, kToken.size() - 6}) {
    std::string forged(kToken);
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(tokens.read(forged)) << i;
  }
}

}  // namespace
}  // namespace origin

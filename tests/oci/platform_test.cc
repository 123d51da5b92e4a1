#include "oci/platform.h"

#include <gtest/gtest.h>

namespace oci {
namespace {

Platform of(const char* text) { return *parse_platform(text); }

TEST(Platform, AsClientsWriteIt) {
  EXPECT_EQ(parse_platform("linux/amd64"), (Platform{.architecture = "amd64", .os = "linux"}));
  EXPECT_EQ(parse_platform("linux/arm/v7"),
            (Platform{.architecture = "arm", .os = "linux", .variant = "v7"}));
  for (const char* wrong : {"", "linux", "/amd64", "linux/", "linux/arm/", "/", "a/b/c/d"}) {
    EXPECT_EQ(parse_platform(wrong), std::nullopt) << wrong;
  }
}

TEST(Platform, AVariantCountsIfOneIsWanted) {
  EXPECT_TRUE(of("linux/arm/v6").meant_by(of("linux/arm")));
  EXPECT_TRUE(of("linux/arm/v6").meant_by(of("linux/arm/v6")));
  EXPECT_FALSE(of("linux/arm/v6").meant_by(of("linux/arm/v7")));
  EXPECT_FALSE(of("linux/arm/v6").meant_by(of("linux/arm64")));
  EXPECT_FALSE(of("linux/arm/v6").meant_by(of("windows/arm")));
  EXPECT_FALSE(of("linux/amd64").meant_by(of("linux/amd64/v3")));
}

TEST(Platform, ArmHasAVariantThatNeedNotBeNamed) {
  EXPECT_TRUE(of("linux/arm64").meant_by(of("linux/arm64/v8")));
  EXPECT_TRUE(of("linux/arm").meant_by(of("linux/arm/v7")));
  EXPECT_FALSE(of("linux/arm").meant_by(of("linux/arm/v6")));
}

}  // namespace
}  // namespace oci

#include <gtest/gtest.h>

#include <fstream>

#include "proxy/upstream_config.h"
#include "tests/support/temp_dir.h"

namespace proxy {
namespace {

class ImagesConfigTest : public ::testing::Test {
 protected:
  UpstreamConfig read(const std::string& more) {
    std::ofstream(path) << "urls: [https://registry.example]\n" << more;
    const base::ConfigFile file(path);
    return read_upstream(file.root());
  }
  std::string error_of(const std::string& more) {
    try {
      read(more);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "none";
  }

  test::TempDir directory;
  const std::filesystem::path path = directory.path() / "upstream.yml";
};

TEST_F(ImagesConfigTest, DefaultsOfImages) {
  const UpstreamConfig config = read("");
  EXPECT_FALSE(config.images);
  EXPECT_EQ(config.image.tag_lifetime, std::chrono::seconds(60));
  EXPECT_EQ(config.image.stale_after, std::chrono::seconds(5));
  EXPECT_EQ(config.image.stale_if_error, std::chrono::hours(168));
  EXPECT_TRUE(config.image.follow_deletions);
  EXPECT_FALSE(config.image.prefetch);
  EXPECT_TRUE(config.image.platforms.empty());
}

TEST_F(ImagesConfigTest, ImagesAsConfigured) {
  const UpstreamConfig config = read(
      "images: true\ntag_lifetime: 0s\nstale_after: 1s\nstale_if_error: 24h\n"
      "follow_deletions: false\nprefetch: true\nplatforms: [linux/amd64, linux/arm/v7]\n");
  EXPECT_TRUE(config.images);
  EXPECT_EQ(config.image.tag_lifetime, base::Duration(0));
  EXPECT_EQ(config.image.stale_after, std::chrono::seconds(1));
  EXPECT_EQ(config.image.stale_if_error, std::chrono::hours(24));
  EXPECT_FALSE(config.image.follow_deletions);
  EXPECT_TRUE(config.image.prefetch);
  const std::vector<oci::Platform> platforms = {
      {.architecture = "amd64", .os = "linux"},
      {.architecture = "arm", .os = "linux", .variant = "v7"}};
  EXPECT_EQ(config.image.platforms, platforms);
}

TEST_F(ImagesConfigTest, PlatformsThatAreNone) {
  for (const char* platform : {"linux", "/amd64", "linux/", "linux/arm/", "linux/arm/v7/x"}) {
    const std::string error = error_of("platforms: [\"" + std::string(platform) + "\"]\n");
    EXPECT_NE(error.find("platforms"), std::string::npos) << platform << ": " << error;
    EXPECT_NE(error.find("linux/amd64"), std::string::npos) << platform << ": " << error;
  }
}

}  // namespace
}  // namespace proxy

// The section `admin` of the edge's configuration.
#include "proxy/admin_config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "proxy/config.h"
#include "tests/support/temp_dir.h"

namespace proxy {
namespace {

class AdminConfigTest : public ::testing::Test {
 protected:
  AdminConfig read(const std::string& admin) {
    std::ofstream(path) << "listen: [{addr: \":80\"}]\ncache: {directory: /c, size: 1GiB}\n"
                           "upstreams:\n  - {name: one, urls: [https://one.example]}\n"
                           "  - {name: two, prefix: two, urls: [https://two.example]}\n"
                        << admin;
    return read_edge_config(path).admin;
  }
  std::string error_of(const std::string& admin) {
    try {
      read(admin);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "none";
  }

  test::TempDir directory;
  const std::filesystem::path path = directory.path() / "edge.yml";
};

TEST_F(AdminConfigTest, Defaults) {
  EXPECT_TRUE(read("").address.empty());
  const AdminConfig config = read("admin: {token: t}\n");
  EXPECT_EQ(config.address, "127.0.0.1:5002");
  EXPECT_FALSE(config.events.warm);
  EXPECT_TRUE(config.events.upstream.empty());
}

TEST_F(AdminConfigTest, Events) {
  const AdminConfig config =
      read("admin: {token: t, events: {token: e, warm: true, upstream: two}}\n");
  EXPECT_EQ(config.events.token, "e");
  EXPECT_TRUE(config.events.warm);
  EXPECT_EQ(config.events.upstream, "two");
}

TEST_F(AdminConfigTest, Mistakes) {
  EXPECT_NE(error_of("admin: {addr: \":1\"}\n").find("token"), std::string::npos);
  const std::string error = error_of("admin: {token: t, events: {upstream: three}}\n");
  EXPECT_NE(error.find("events.upstream"), std::string::npos) << error;
  EXPECT_NE(error.find("the name of one of the upstreams"), std::string::npos) << error;
}

}  // namespace
}  // namespace proxy

#include "proxy/routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/yaml_config.h"
#include "proxy/config.h"
#include "tests/support/temp_dir.h"

namespace proxy {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<Upstream> upstream(UpstreamConfig config) {
  return std::make_shared<Upstream>(std::move(config));
}

class RoutingTest : public ::testing::Test {
 protected:
  // "<upstream>:<repository there>", or "none".
  std::string find(const std::string& repository, const std::string& query = "",
                   const std::string& host = "edge.example") {
    http::Request request;
    request.query = query;
    request.headers.set("Host", host);
    const auto found = routing.find(request, repository);
    return found ? found->upstream->name() + ":" + found->repository : "none";
  }

  Routing routing{{
      upstream({.name = "hub", .namespaces = {"docker.io"}, .hosts = {"hub.example", "[::1]"}}),
      upstream({.name = "quay", .namespaces = {"quay.io"}, .prefix = "quay"}),
      upstream({.name = "deep", .prefix = "quay/deep"}),
      upstream({.name = "rest"}),
  }};
};

TEST_F(RoutingTest, NamespaceGoesFirst) {
  EXPECT_EQ(find("library/busybox", "ns=docker.io"), "hub:library/busybox");
  EXPECT_EQ(find("quay/app", "ns=docker.io"), "hub:quay/app");
  EXPECT_EQ(find("app", "ns=QUAY.io", "hub.example"), "quay:app");
}

TEST_F(RoutingTest, UnknownNamespaceIsNobodys) {
  EXPECT_EQ(find("app", "ns=evil.example"), "none");
  EXPECT_EQ(find("quay/app", "ns="), "none");
}

TEST_F(RoutingTest, NamespaceDoesNotCountWhereOnlyDigestsDo) {
  routing = Routing({upstream({.name = "origin"})});
  EXPECT_EQ(find("app", "ns=registry.example"), "origin:app");
  routing = Routing({upstream({.name = "origin", .images = true})});
  EXPECT_EQ(find("app", "ns=registry.example"), "none");
}

TEST_F(RoutingTest, HostCountsWithoutItsPort) {
  EXPECT_EQ(find("app", "", "hub.example:8443"), "hub:app");
  EXPECT_EQ(find("app", "", "HUB.example"), "hub:app");
  EXPECT_EQ(find("app", "", "[::1]:80"), "hub:app");
  EXPECT_EQ(find("app", "", "[::1]"), "hub:app");
  EXPECT_EQ(find("app", "", "hub.example.evil"), "rest:app");
}

TEST_F(RoutingTest, LongestPrefixIsTakenOff) {
  EXPECT_EQ(find("quay/org/app"), "quay:org/app");
  EXPECT_EQ(find("quay/deep/app"), "deep:app");
  EXPECT_EQ(find("quay/deep"), "quay:deep");
  EXPECT_EQ(find("quay"), "rest:quay");
  EXPECT_EQ(find("quayside/app"), "rest:quayside/app");
}

TEST_F(RoutingTest, NothingIsMeantWhereEveryUpstreamIsSelective) {
  routing = Routing({upstream({.name = "hub", .hosts = {"hub.example"}})});
  EXPECT_EQ(find("app"), "none");
}

// What the configuration says where two upstreams are meant by one name.
std::string mistake_of(const std::string& first, const std::string& second) {
  const test::TempDir directory;
  const auto path =
      directory.write("edge.yml",
                      "listen: [{addr: ':443'}]\ncache: {directory: /c, size: 1GiB}\nupstreams:\n"
                      "- {name: a, urls: [https://a.example]" +
                          first + "}\n- {name: b, urls: [https://b.example]" + second + "}\n");
  try {
    read_edge_config(path);
  } catch (const base::ConfigError& e) {
    return e.what();
  }
  return "none";
}

TEST(RoutingConfig, EveryUpstreamCanBeReached) {
  EXPECT_EQ(mistake_of(", namespaces: [a, b]", ", namespaces: [c]"), "none");
  EXPECT_EQ(mistake_of("", ", prefix: b"), "none");
  EXPECT_THAT(mistake_of(", namespaces: [a.io]", ", namespaces: [b.io, A.io]"),
              HasSubstr("upstreams[1].namespaces"));
  EXPECT_THAT(mistake_of(", hosts: [a.io]", ", hosts: [A.IO]"), HasSubstr("upstreams[1].hosts"));
  EXPECT_THAT(mistake_of(", prefix: a", ", prefix: a"), HasSubstr("upstreams[1].prefix"));
  EXPECT_THAT(mistake_of("", ""), HasSubstr("a, takes all that is left"));
}

}  // namespace
}  // namespace proxy

#include "proxy/upstream_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/yaml_config.h"
#include "tests/support/temp_dir.h"

namespace proxy {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class UpstreamConfigTest : public ::testing::Test {
 protected:
  UpstreamConfig read(const std::string& yaml) {
    const auto path = directory.path() / "edge.yml";
    std::ofstream(path) << yaml;
    const base::ConfigFile file(path);
    UpstreamConfig config = read_upstream(file.root());
    for (const auto& key : file.unread()) ADD_FAILURE() << "not read: " << key.path;
    return config;
  }
  std::string mistake(const std::string& yaml) {
    try {
      read("urls: [https://registry.example]\n" + yaml);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "none";
  }
  test::TempDir directory;
};

TEST_F(UpstreamConfigTest, EveryKey) {
  const UpstreamConfig config = read(R"(
urls: [https://a.example/, "http://b.example:5000/registry"]
login: {username: me, password: secret}
realm_hosts: [sso.example]
redirect_to: [10.0.0.0/8, minio.internal]
http2: true
retry: {rounds: 4, delay: 1s, percent: 5, floor: 7}
eject: {after: 2, time: 3s, time_max: 4m}
health: {check: always, interval: 5s}
max_requests: 8
max_queue: 9
queue_timeout: 6s
absent_lifetime: 11s
ns: docker.io
retry_after_max: 12m
)");
  EXPECT_THAT(config.urls,
              testing::ElementsAre("https://a.example", "http://b.example:5000/registry"));
  EXPECT_EQ(config.name, "a.example");
  EXPECT_EQ(config.ns, "docker.io");
  EXPECT_EQ(config.username, "me");
  EXPECT_EQ(config.password, "secret");
  EXPECT_THAT(config.realm_hosts, testing::ElementsAre("sso.example"));
  EXPECT_TRUE(config.redirects.may_connect({}, "10.1.2.3"));
  EXPECT_TRUE(config.client.http2);
  EXPECT_EQ(config.rounds, 4U);
  EXPECT_EQ(config.round_delay, seconds(1));
  EXPECT_EQ(config.retry_percent, 5U);
  EXPECT_EQ(config.retry_floor, 7U);
  EXPECT_EQ(config.eject_after, 2U);
  EXPECT_EQ(config.eject_time, seconds(3));
  EXPECT_EQ(config.eject_time_max, minutes(4));
  EXPECT_EQ(config.health_check, UpstreamConfig::HealthCheck::always);
  EXPECT_EQ(config.health_interval, seconds(5));
  EXPECT_EQ(config.max_requests, 8U);
  EXPECT_EQ(config.max_queue, 9U);
  EXPECT_EQ(config.queue_timeout, seconds(6));
  EXPECT_EQ(config.absent_lifetime, seconds(11));
  EXPECT_EQ(config.retry_after_max, minutes(12));
}

TEST_F(UpstreamConfigTest, MistakesAreNamed) {
  using testing::HasSubstr;
  EXPECT_THAT(mistake("login: {username: me}"), HasSubstr("password"));
  EXPECT_THAT(mistake("login: {username: 'a:b', password: x}"), HasSubstr("username"));
  EXPECT_THAT(mistake("bearer: x\nlogin: {username: a, password: x}"), HasSubstr("login"));
  EXPECT_THAT(mistake("redirect_to: [10.0.0.0/40]"), HasSubstr("redirect_to"));
  EXPECT_THAT(mistake("health: {interval: 1ms}"), HasSubstr("interval"));
  EXPECT_THAT(mistake("health: {check: sometimes}"), HasSubstr("check"));
  EXPECT_THAT(mistake("max_requests: 0"), HasSubstr("max_requests"));
  for (const char* url : {"registry.example", "https://me:x@registry.example",
                          "https://registry.example/?a=b", "https://", "https://a b"}) {
    EXPECT_THROW(read("urls: ['" + std::string(url) + "']"), base::ConfigError) << url;
  }
}

}  // namespace
}  // namespace proxy

#include "origin/health.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <latch>
#include <map>
#include <optional>
#include <ranges>
#include <thread>

#include "base/yaml_config.h"
#include "http/listener.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/log_capture.h"
#include "tests/support/reserved_port.h"

namespace origin {
namespace {

using std::chrono_literals::operator""s;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using Errors = std::map<std::string, std::string>;

// More than the clock of a test ever moves.
constexpr std::chrono::hours kLong(100'000);

class HealthTest : public ::testing::Test {
 protected:
  HealthConfig read(std::string_view text) {
    return read_health(base::ConfigFile(dir_.write("health.yml", text)).root());
  }
  std::string mistake(std::string_view text) {
    try {
      read(text);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "no mistake";
  }
  void start(HealthConfig config = {}) {
    config.storage.timeout = kLong;
    health_.emplace(loops_, config, dir_.path());
    health_->start();
  }
  // With one check, whose look gets what this returns. A look may run on when its check, and even
  // this fixture, is gone: so it captures nothing, and what it works with lives as long as it does.
  template <typename State>
  std::shared_ptr<State> start_check(const std::string& name, std::string (*look)(State&),
                                     base::Duration timeout = kLong) {
    auto state = std::make_shared<State>();
    health_.emplace(loops_, HealthConfig{.storage = {.timeout = kLong}}, dir_.path());
    health_->add(name, {10s, 3}, timeout, [state, look] { return look(*state); });
    health_->start();
    return state;
  }
  // Lets time pass until this is what the checks say, of one or of none that fails. A look that the
  // clock overtakes may fail on the way there.
  void pass_until(const std::string& name, const std::string& part) {
    while (true) {
      const Errors errors = health_->errors();
      const auto found = errors.find(name);
      if (found != errors.end() && found->second.find(part) != std::string::npos) break;
      clock_.advance(10s);
      std::this_thread::yield();
    }
    EXPECT_TRUE(health_->failing());
  }
  void pass_until_well() {
    while (health_->failing()) {
      clock_.advance(10s);
      std::this_thread::yield();
    }
    EXPECT_THAT(health_->errors(), IsEmpty());
  }
  int healthz(const std::string& method = "GET") {
    http::Request request;
    request.method = method;
    return health_->healthz(request).status;
  }

  test::TempDir dir_;
  base::ManualClock clock_;
  base::LoopGroup loops_{1, clock_};
  std::optional<Health> health_;
};

TEST_F(HealthTest, DistributionsKeys) {
  const HealthConfig config = read(R"(
storagedriver: {enabled: true, interval: 1s, threshold: 3, timeout: 2s}
file:
  - {file: /a, interval: 4s}
http:
  - {uri: "http://a/", headers: {X-A: [b]}, statuscode: 204, timeout: 3s, interval: 5s, threshold: 6}
tcp:
  - {addr: "a:1", timeout: 7s, interval: 0}
)");
  EXPECT_TRUE(config.storage.enabled);
  EXPECT_EQ(config.storage.timing.interval, 1s);
  EXPECT_EQ(config.storage.timing.threshold, 3);
  EXPECT_EQ(config.storage.timeout, 2s);
  ASSERT_EQ(config.files.size(), 1U);
  EXPECT_EQ(config.files[0].file, "/a");
  EXPECT_EQ(config.files[0].timing.interval, 4s);
  ASSERT_EQ(config.uris.size(), 1U);
  EXPECT_EQ(config.uris[0].headers.get("x-a"), "b");
  EXPECT_EQ(config.uris[0].status, 204);
  EXPECT_EQ(config.uris[0].timeout, 3s);
  EXPECT_EQ(config.uris[0].timing.threshold, 6);
  ASSERT_EQ(config.addresses.size(), 1U);
  EXPECT_EQ(config.addresses[0].timeout, 7s);
  EXPECT_EQ(config.addresses[0].timing.interval, 10s);  // 0 is Distribution's "not given"

  EXPECT_FALSE(read("storagedriver: {interval: 10s}\n").storage.enabled);
  EXPECT_THAT(mistake("file: [{interval: 1s}]\n"), HasSubstr("file"));
  EXPECT_THAT(mistake("http: [{uri: a}]\n"), HasSubstr("https://"));
  EXPECT_THAT(mistake("http: [{uri: 'ftp://ann:s3cret@a'}]\n"), Not(HasSubstr("s3cret")));
  EXPECT_THAT(mistake("tcp: [{addr: a}]\n"), HasSubstr("host:port"));
  EXPECT_THAT(mistake("storagedriver: {threshold: -1}\n"), HasSubstr("threshold"));
}

TEST_F(HealthTest, IsWellWithoutChecks) {
  start();
  EXPECT_FALSE(health_->failing());
  EXPECT_EQ(healthz(), 200);
  EXPECT_EQ(healthz("HEAD"), 200);
  EXPECT_EQ(healthz("POST"), 405);
  health_->leave();
  EXPECT_EQ(healthz(), 503);
}

TEST_F(HealthTest, AFileThatExistsIsAFailure) {
  const auto file = dir_.path() / "down";
  start({.files = {{{}, file}}});
  std::ofstream(file) << "";
  pass_until(file.string(), "file exists");
  EXPECT_EQ(healthz(), 503);
  std::filesystem::remove(file);
  pass_until_well();
  EXPECT_EQ(healthz(), 200);
}

// A check that fails as often as it is told.
struct Ill {
  std::atomic<int> looks = 0;
  std::atomic<int> of_three = 3;  // looks, the first ones
};
std::string look_at(Ill& ill) { return ill.looks++ % 3 < ill.of_three ? "ill" : ""; }

TEST_F(HealthTest, FailuresCountFromTheThresholdOn) {
  const auto ill = start_check("check", look_at);
  pass_until("check", "ill");
  EXPECT_GE(ill->looks, 3);
  ill->of_three = 0;
  pass_until_well();
  // Two in a row are not three.
  ill->of_three = 2;
  for (const int begun = ill->looks; ill->looks < begun + 12; clock_.advance(10s)) {
    EXPECT_FALSE(health_->failing());
  }
}

// A check that hangs.
struct Hanging {
  std::atomic<bool> begun = false;
  std::latch go_on{1};
};
std::string hang(Hanging& hanging) {
  hanging.begun = true;
  hanging.begun.notify_all();
  hanging.go_on.wait();
  return "";
}

TEST_F(HealthTest, AStorageThatHangsIsAFailureAndDoesNotKeepTheProgram) {
  const auto storage = start_check("storage", hang, 5s);
  pass_until("storage", "no answer within 5 s");
  storage->go_on.count_down();
  pass_until_well();
}

TEST_F(HealthTest, StopsWhileTheStorageHangs) {
  const auto storage = start_check("storage", hang);
  storage->begun.wait(false);
  health_->stop();
  storage->go_on.count_down();
}

TEST_F(HealthTest, TheStoragesRootIsAsked) {
  // Below a file there can be no root.
  std::ofstream(dir_.path() / "file") << "";
  health_.emplace(loops_, HealthConfig{.storage = {.enabled = true}},
                  dir_.path() / "file" / "root");
  health_->start();
  pass_until("storagedriver_filesystem", "Not a directory");
}

// What no section "health" asks for keeps no request from being tried.
TEST_F(HealthTest, UnaskedTheStorageMayFailTwice) {
  EXPECT_EQ(read("{}").storage.timing.threshold, 3);
  EXPECT_EQ(read("storagedriver: {threshold: 5}").storage.timing.threshold, 5);
  EXPECT_EQ(read("storagedriver: {enabled: true}").storage.timing.threshold, 0);
}

TEST_F(HealthTest, HealthzAsksTheStorageAlways) {
  std::ofstream(dir_.path() / "file") << "";
  health_.emplace(loops_, HealthConfig{.storage = {.timeout = kLong}},
                  dir_.path() / "file" / "root");
  health_->start();
  while (healthz() == 200) {
    clock_.advance(10s);
    std::this_thread::yield();
  }
  EXPECT_FALSE(health_->failing());
  EXPECT_THAT(health_->errors(),
              ElementsAre(Pair("storagedriver_filesystem", HasSubstr("Not a directory"))));
}

TEST_F(HealthTest, ATcpPortThatNobodyServesIsAFailure) {
  const test::ReservedPort port;
  start({.addresses = {{{}, kLong, port.address()}}});
  pass_until(port.address(), "refused");
  const http::BoundSockets bound = http::bind_listener(port.address(), 1);
  pass_until_well();
}

TEST_F(HealthTest, AnHttpStatusThatIsNotTheRightOneIsAFailure) {
  test::FakeUpstream up;
  const std::string uri = up.url() + "/check";
  http::Headers headers;
  headers.add("X-Check", "yes");
  start({.uris = {{.timing = {10s, 0}, .timeout = kLong, .uri = uri, .headers = headers}}});
  pass_until(uri, "unexpected status: 404");
  EXPECT_EQ(up.requests().front().method, "HEAD");
  EXPECT_EQ(up.requests().front().headers.get("X-Check"), "yes");
  up.serve_blob("/check", "well");
  pass_until_well();
  up.stop();
  pass_until(uri, "");
}

TEST_F(HealthTest, APasswordInAUriIsSentAndNotShown) {
  test::FakeUpstream up;
  std::string uri = up.url() + "/check";
  const std::string shown = "http://********@" + uri.substr(7);
  test::LogCapture log;
  start({.uris = {{.timing = {10s, 0}, .timeout = kLong, .uri = uri.insert(7, "ann:s3cret@")}}});
  pass_until(shown, "unexpected status: 404");
  EXPECT_EQ(up.requests().front().headers.get("Authorization"), "Basic YW5uOnMzY3JldA==");
  for (const auto& [name, error] : health_->errors()) {
    EXPECT_THAT(name + error + log.text(), Not(HasSubstr("s3cret")));
  }
  EXPECT_THAT(log.text(), HasSubstr(shown));
}

TEST_F(HealthTest, ChecksThatDifferInTheirPasswordFailEachForItself) {
  test::FakeUpstream up;
  const std::string rest = up.url().substr(7) + "/check";
  const std::string shown = "http://********@" + rest;
  const HealthConfig::HttpCheck well{
      .timing = {10s, 0}, .timeout = kLong, .uri = "http://ann:1@" + rest, .status = 404};
  HealthConfig::HttpCheck ill = well;
  ill.uri = "http://ann:2@" + rest;
  ill.status = 200;
  start({.uris = {well, ill}});
  // The result of a look counts before the next begins.
  std::map<std::string, int> looks;
  while (looks.size() < 2 || std::ranges::min(looks | std::views::values) < 3) {
    clock_.advance(10s);
    std::this_thread::yield();
    looks.clear();
    for (const auto& request : up.requests()) {
      ++looks[std::string(request.headers.get("Authorization").value_or(""))];
    }
  }
  EXPECT_THAT(health_->errors(), ElementsAre(Pair(shown + " (2)", HasSubstr("404"))));
  EXPECT_TRUE(health_->failing());
}

// The registry around it.

TEST_F(RegistryTest, WhileACheckFailsRequestsAreRefusedAndTheDebugServerSaysWhy) {
  const test::TempDir dir;
  const auto file = dir.write("down", "");
  Config c = config();
  c.debug.address = "127.0.0.1:0";
  c.health.files = {{{std::chrono::milliseconds(10), 0}, file}};
  Registry& registry = start(std::move(c));
  while (call(registry.port(), "GET", "/healthz").status != 503) std::this_thread::yield();
  for (const char* path : {"/v2/", "/", "/v2/_catalog"}) {
    const auto refused = call(registry.port(), "GET", path);
    EXPECT_EQ(refused.status, 503) << path;
    EXPECT_EQ(error_code(refused), "UNAVAILABLE");
    EXPECT_THAT(refused.body, HasSubstr("health check failed: please see /debug/health"));
  }
  const auto health = call(registry.debug_port(), "GET", "/debug/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, "{\"" + file.string() + "\":\"file exists\"}");

  std::filesystem::remove(file);
  while (call(registry.port(), "GET", "/healthz").status != 200) std::this_thread::yield();
  EXPECT_EQ(call(registry.port(), "GET", "/v2/").status, 200);
  const auto well = call(registry.debug_port(), "GET", "/debug/health");
  EXPECT_EQ(well.status, 200);
  EXPECT_EQ(well.body, "{}");
}

TEST_F(RegistryTest, BeforeTheDrainOnlyHealthzChanges) {
  Config c = config();
  c.drain_delay = 5s;
  Registry& registry = start(std::move(c));
  EXPECT_EQ(call(registry.port(), "GET", "/healthz").body, "ok\n");
  EXPECT_EQ(registry.leave(), 5s);
  EXPECT_EQ(call(registry.port(), "GET", "/healthz").status, 503);
  EXPECT_EQ(call(registry.port(), "GET", "/v2/").status, 200);
}

}  // namespace
}  // namespace origin

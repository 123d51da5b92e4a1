// The real program: signals, its service manager, and its configuration file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <optional>

#include "http/listener.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/notify_socket.h"
#include "tests/support/process.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

using ::testing::HasSubstr;

class EdgeServiceTest : public ::testing::Test {
 protected:
  // `server` is further keys of this section, `more` further sections.
  std::filesystem::path write_config(const std::string& server = "", const std::string& more = "",
                                     const std::string& address = "127.0.0.1:0") {
    return dir_.write("edge.yml", "listen: [{addr: '" + address + "'}]\ncache: {directory: " +
                                      (dir_.path() / "cache").string() +
                                      ", size: 1GiB}\nupstreams: [{urls: ['" + upstream_.url() +
                                      "'], bearer: the-secret}]\nserver: {loops: 2, threads: 2" +
                                      server + "}\n" + more);
  }
  void start(std::map<std::string, std::string> environment = {},
             const std::vector<int>& sockets = {}) {
    environment["NOTIFY_SOCKET"] = manager_.path();
    process_.emplace(
        std::vector<std::string>{ENTREPOT_EDGE, "serve", (dir_.path() / "edge.yml").string()},
        environment, sockets);
    manager_.wait_for("READY=1");
  }
  void reload() {
    process_->signal(SIGHUP);
    manager_.wait_for("RELOADING=1");
    manager_.wait_for("READY=1");
  }

  test::TempDir dir_;
  test::FakeUpstream upstream_;
  test::NotifySocket manager_{dir_.path() / "notify"};
  std::optional<test::Process> process_;
};

TEST_F(EdgeServiceTest, ServesTheSocketItIsGiven) {
  const TestBlob blob(random_bytes(100'000));
  upstream_.serve_blob(blob.path, blob.bytes);
  http::BoundSockets socket = http::bind_listener("127.0.0.1:0", 1);
  write_config();
  start({}, {socket.sockets[0].get()});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(test::fetch(socket.port, blob.path).body, blob.bytes);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  test::RawClient waits_for_the_next(socket.port);
}

TEST_F(EdgeServiceTest, AnswersAWatchdog) {
  write_config();
  start({{"WATCHDOG_USEC", "400000"}});
  manager_.wait_for("WATCHDOG=1");
  manager_.wait_for("WATCHDOG=1");
}

TEST_F(EdgeServiceTest, ReloadsItsConfiguration) {
  write_config();
  start();
  const uint16_t port = process_->listening_port();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(test::fetch(port, "/v2/").status, 200);
  write_config(", per_address: {requests: 1}", "name: another\n");
  reload();
  process_->wait_for("name: changed in the file, in force after the next start");
  EXPECT_EQ(test::fetch(port, "/v2/").status, 200);
  EXPECT_EQ(test::fetch(port, "/v2/").status, 429);
}

TEST_F(EdgeServiceTest, AWrongFileChangesNothing) {
  write_config();
  start();
  const uint16_t port = process_->listening_port();
  write_config(", per_address: {requests: 1}, idle_timeout: often");
  reload();
  EXPECT_THAT(process_->wait_for("stays as it was"),
              HasSubstr("edge.yml:4:74: server.idle_timeout: expected"));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(test::fetch(port, "/v2/").status, 200);
}

TEST_F(EdgeServiceTest, LoadBalancersHearOfTheEndBeforeItBegins) {
  write_config(", drain_delay: 1h");
  start();
  const uint16_t port = process_->listening_port();
  EXPECT_EQ(test::fetch(port, "/healthz").status, 200);
  process_->signal(SIGTERM);
  manager_.wait_for("STOPPING=1");
  EXPECT_EQ(test::fetch(port, "/healthz").status, 503);
  EXPECT_EQ(test::fetch(port, "/v2/").status, 200);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 1);
}

TEST_F(EdgeServiceTest, ShowsTheConfigurationInForce) {
  const auto file = write_config(", bandwidth: {total: 10MB}");
  test::Process check({ENTREPOT_EDGE, "config", "check", file.string()});
  EXPECT_EQ(check.wait(), 0);
  EXPECT_THAT(check.output(), HasSubstr("total: 10MB"));
  EXPECT_THAT(check.output(), HasSubstr("min_send_rate: 1KiB"));
  EXPECT_THAT(check.output(), HasSubstr("bearer: \"********\""));
  EXPECT_THAT(check.output(), ::testing::Not(HasSubstr("the-secret")));
  write_config(", draintimeout: soon");
  test::Process wrong({ENTREPOT_EDGE, "config", "check", file.string()});
  EXPECT_EQ(wrong.wait(), 2);
  EXPECT_THAT(wrong.output(), HasSubstr("server.draintimeout: expected"));
}

}  // namespace
}  // namespace proxy

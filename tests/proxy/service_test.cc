// The real program: signals, its service manager, and its configuration file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <atomic>
#include <future>
#include <optional>
#include <sstream>
#include <thread>

#include "cache/layout.h"
#include "http/listener.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/certificates.h"
#include "tests/support/notify_socket.h"
#include "tests/support/process.h"
#include "tests/support/raw_client.h"
#include "tests/support/reserved_port.h"

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

TEST_F(EdgeServiceTest, ACertificateThatCannotBeUsedChangesNothing) {
  test::CertificateAuthority authority(dir_.path(), "ca");
  const auto files = authority.issue_server("admin");
  const std::string admin =
      "admin: {token: secret-token-of-a-test, addr: '127.0.0.1:0', tls: {certificate: " +
      files.certificate.string() + ", key: " + files.key.string() + "}}\n";
  write_config("", admin);
  start();
  const uint16_t port = process_->listening_port();
  dir_.write("admin.pem", "rubbish");
  write_config(", per_address: {requests: 1}", admin);
  reload();
  EXPECT_THAT(process_->wait_for("stays as it was"), HasSubstr("admin.pem"));
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

// Whoever opens a FIFO that nobody writes to waits, as on a disk that gives no answer.
TEST_F(EdgeServiceTest, EndsInTimeThoughItsDiskHangs) {
  const TestBlob blob(random_bytes(100'000));
  upstream_.serve_blob(blob.path, blob.bytes);
  const test::ReservedPort admin;
  write_config(", draintimeout: 0s", "admin: {token: t, addr: '" + admin.address() + "'}\n");
  start();
  const uint16_t port = process_->listening_port();
  while (test::fetch(port, blob.path).header("Cache-Status").find("; hit") == std::string::npos) {
  }
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  const std::filesystem::path file = cache::Layout(dir_.path() / "cache").blob(blob.digest);
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);

  start();
  test::RawClient client(process_->listening_port());
  client.send("GET " + blob.path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  test::FetchOptions as_administrator;
  as_administrator.headers.set("Authorization", "Bearer t");
  while (test::fetch(admin.number(), "/stats", as_administrator).body.find(blob.path) ==
         std::string::npos) {
  }
  process_->signal(SIGTERM);
  EXPECT_THAT(process_->wait_for("ending at once"), HasSubstr("the requests under way"));
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

TEST_F(EdgeServiceTest, TheAccessLogSaysHowLongUpstreamsWereWaitedFor) {
  const TestBlob blob(random_bytes(1000));
  upstream_.serve_blob(blob.path, blob.bytes);
  write_config("", "log: {accesslog: {format: json}}\n");
  start();
  const uint16_t port = process_->listening_port();
  EXPECT_EQ(test::fetch(port, blob.path).body, blob.bytes);
  EXPECT_EQ(test::fetch(port, "/v2/").status, 200);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  const std::string log = process_->output();
  EXPECT_THAT(log, ::testing::ContainsRegex("uri-miss; stored\",\"upstream_ms\":[0-9.]+}\n"));
  EXPECT_THAT(log, ::testing::ContainsRegex("\"target\":\"/v2/\".*\"ms\":[0-9.]+}\n"));
}

// The output goes to a pipe that takes the lines of some hundred requests.
TEST_F(EdgeServiceTest, AnAccessLogThatNobodyReadsHoldsUpNoRequest) {
  constexpr int kRequests = 2000;
  write_config();
  start();
  const uint16_t port = process_->listening_port();
  test::FetchOptions options;
  options.headers.set("Referer", std::string(250, 'r'));
  for (int i = 0; i < kRequests; ++i) EXPECT_EQ(test::fetch(port, "/v2/", options).status, 200);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  int lines = 0;
  std::istringstream in(process_->output());
  for (std::string line; std::getline(in, line);) {
    if (line.find("\"GET ") == std::string::npos) continue;
    ++lines;
    EXPECT_THAT(
        line, ::testing::MatchesRegex("127\\.0\\.0\\.1 - - \\[.*\\] \"GET /v2/ .*r\" \".*\" .* -"));
  }
  EXPECT_EQ(lines, kRequests);
}

// ---- another process takes the place of this one

class TakeoverTest : public EdgeServiceTest {
 protected:
  TakeoverTest() {
    upstream_.serve_blob(blob_.path, blob_.bytes);
    write_takeover_config();
  }
  void write_takeover_config(const std::string& more_listeners = "") {
    dir_.write("edge.yml", "name: entrepot-edge\nlisten: [{addr: '127.0.0.1:0'}" + more_listeners +
                               "]\ncache: {directory: " + (dir_.path() / "cache").string() +
                               ", size: 1GiB}\nupstreams: [{urls: ['" + upstream_.url() +
                               "']}]\nserver: {loops: 2, threads: 2, takeover: " +
                               (dir_.path() / "takeover").string() + "}\nadmin: {addr: '" +
                               admin_port_.address() +
                               "', token: t}\nlog: {accesslog: {disabled: true}}\n");
  }
  void start_old() {
    start();
    port_ = process_->listening_port();
  }
  void start_new() {
    successor_.emplace(
        std::vector<std::string>{ENTREPOT_EDGE, "serve", (dir_.path() / "edge.yml").string()},
        std::map<std::string, std::string>{{"NOTIFY_SOCKET", manager_.path()}});
  }
  void take_over() {
    start_new();
    EXPECT_EQ(successor_->listening_port(), port_);
    manager_.wait_for("MAINPID=" + std::to_string(successor_->pid()));
  }
  std::string cache_status() { return test::fetch(port_, blob_.path).header("Cache-Status"); }
  void store() {
    while (cache_status() != "entrepot-edge; hit") {
    }
  }

  const test::ReservedPort admin_port_;
  const TestBlob blob_{random_bytes(8 << 20)};
  std::optional<test::Process> successor_;
  uint16_t port_ = 0;
};

TEST_F(TakeoverTest, RefusesNobody) {
  start_old();
  store();
  std::atomic<bool> over = false;
  std::atomic<int> served = 0;
  std::vector<std::jthread> clients;
  for (int i = 0; i < 3; ++i) {
    clients.emplace_back([&] {
      while (!over) {
        const test::Fetched answer = test::fetch(port_, blob_.path);
        EXPECT_EQ(answer.status, 200);
        EXPECT_TRUE(answer.body == blob_.bytes);
        ++served;
        served.notify_all();
      }
    });
  }
  const auto wait_for_more = [&] {
    for (int now = served, end = now + 20; now < end; now = served) served.wait(now);
  };
  wait_for_more();
  take_over();
  EXPECT_EQ(process_->wait(), 0) << process_->output();
  // Whom the old one had accepted, and had not yet looked up when it let go of the cache, got their
  // bytes past it. The new one has it from the beginning.
  const uint64_t fetched = upstream_.bytes_sent(blob_.path);
  wait_for_more();
  over = true;
  clients.clear();
  EXPECT_EQ(cache_status(), "entrepot-edge; hit");
  EXPECT_EQ(upstream_.bytes_sent(blob_.path), fetched);
}

TEST_F(TakeoverTest, LetsAHitEnd) {
  start_old();
  store();
  test::RawClient client(port_, 64 << 10);
  client.send("GET " + blob_.path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(client.readable());
  take_over();
  EXPECT_EQ(cache_status(), "entrepot-edge; hit");
  EXPECT_TRUE(client.response().body == blob_.bytes);
  EXPECT_EQ(process_->wait(), 0) << process_->output();
}

TEST_F(TakeoverTest, LetsAFillEnd) {
  using namespace test::step;
  upstream_.script(blob_.path, {send_upto(blob_.bytes.size() / 2), stall("half")});
  start_old();
  std::future<test::Fetched> client =
      std::async(std::launch::async, [&] { return test::fetch(port_, blob_.path); });
  upstream_.wait_stalled("half");
  while (true) {  // until some of it would survive
    const auto in_cache = std::filesystem::directory_iterator(dir_.path() / "cache/incoming");
    if (in_cache != std::filesystem::directory_iterator()) break;
  }
  take_over();
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path() / "cache/incoming"));
  upstream_.release("half");
  const test::Fetched answer = client.get();
  EXPECT_TRUE(answer.complete);
  EXPECT_TRUE(answer.body == blob_.bytes);
  EXPECT_EQ(process_->wait(), 0) << process_->output();
  EXPECT_TRUE(test::fetch(port_, blob_.path).body == blob_.bytes);
  store();
  EXPECT_TRUE(test::fetch(port_, blob_.path).body == blob_.bytes);
  EXPECT_LE(upstream_.bytes_sent(blob_.path), 2 * blob_.bytes.size());
}

TEST_F(TakeoverTest, StartsItsSuccessorAtSigusr2) {
  start_old();
  store();
  process_->signal(SIGUSR2);
  const std::string told = manager_.wait_for("MAINPID=");
  const pid_t successor = std::stoi(told.substr(told.find('=') + 1));
  EXPECT_NE(successor, process_->pid());
  siginfo_t ended{};
  EXPECT_EQ(::waitid(P_PID, static_cast<id_t>(process_->pid()), &ended, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(cache_status(), "entrepot-edge; hit");
  EXPECT_EQ(::kill(successor, SIGTERM), 0);
  EXPECT_EQ(process_->wait(), 0) << process_->output();  // once both have closed their output
}

TEST_F(TakeoverTest, ASuccessorThatFailsChangesNothing) {
  start_old();
  store();
  // It finds that out once it has the cache.
  const http::BoundSockets taken = http::bind_listener("127.0.0.1:0", 1);
  write_takeover_config(", {addr: '127.0.0.1:" + std::to_string(taken.port) + "'}");
  for (int i = 0; i < 2; ++i) {
    start_new();
    EXPECT_EQ(successor_->wait(), 1) << successor_->output();
    process_->wait_for("going on as before");
    EXPECT_EQ(cache_status(), "entrepot-edge; hit");
  }
  const TestBlob another(random_bytes(100'000, 7));
  upstream_.serve_blob(another.path, another.bytes);
  while (test::fetch(port_, another.path).header("Cache-Status") != "entrepot-edge; hit") {
  }
  // And one that finds it out before.
  write_takeover_config(", {addr: '127.0.0.1:0', tls: {certificate: none.pem, key: none.pem}}");
  start_new();
  EXPECT_EQ(successor_->wait(), 1);
  EXPECT_EQ(cache_status(), "entrepot-edge; hit");
  write_takeover_config();
  take_over();
  EXPECT_EQ(process_->wait(), 0) << process_->output();
}

}  // namespace
}  // namespace proxy

// The real program and its service manager: sockets that were there before it, what it says about
// its state, and how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "http/listener.h"
#include "origin/storage/layout.h"
#include "tests/origin/client.h"
#include "tests/support/certificates.h"
#include "tests/support/notify_socket.h"
#include "tests/support/process.h"
#include "tests/support/raw_client.h"
#include "tests/support/reserved_port.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using ::testing::HasSubstr;

class ServiceTest : public ::testing::Test {
 protected:
  // `http` and `server` are further keys of these sections, `more` further sections.
  std::filesystem::path write_config(const std::string& http, const std::string& server,
                                     const std::string& more = "") {
    return dir_.write("config.yml", "version: 0.1\nstorage: {filesystem: {rootdirectory: " +
                                        (dir_.path() / "data").string() +
                                        "}}\nhttp: {addr: '127.0.0.1:0'" + http +
                                        "}\nserver: {loops: 2, threads: 2" + server + "}\n" + more);
  }
  void start(const std::string& http, const std::string& server,
             std::map<std::string, std::string> environment = {},
             const std::vector<int>& sockets = {}) {
    const auto file = write_config(http, server);
    environment["NOTIFY_SOCKET"] = manager_.path();
    process_.emplace(std::vector<std::string>{ORIGIN_PROGRAM, "serve", file.string()}, environment,
                     sockets);
  }

  // An upload whose body has begun, so that the server has a request in flight.
  test::RawClient begin_upload(uint16_t port) {
    const std::string target = "/v2/a/blobs/uploads/?digest=" + sha256("hello").str();
    test::RawClient client(port);
    client.send("POST " + target +
                " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.response().status, 100);
    return client;
  }

  test::TempDir dir_;
  test::NotifySocket manager_{dir_.path() / "notify"};
  std::optional<test::Process> process_;
};

TEST_F(ServiceTest, ServesTheSocketsItIsGiven) {
  http::BoundSockets tcp = http::bind_listener("127.0.0.1:0", 1);
  http::BoundSockets local = http::bind_listener("unix:" + (dir_.path() / "sock").string(), 1);
  http::BoundSockets debug = http::bind_listener("127.0.0.1:0", 1);
  start("", "", {{"LISTEN_FDNAMES", "http:local:debug"}},
        {tcp.sockets[0].get(), local.sockets[0].get(), debug.sockets[0].get()});
  EXPECT_THAT(manager_.receive(), HasSubstr("READY=1"));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(call(tcp.port, "GET", "/v2/").status, 200);
  EXPECT_EQ(test::RawClient::unix_socket(dir_.path() / "sock").get("/v2/").status, 200);
  EXPECT_EQ(call(debug.port, "GET", "/debug/health").body, "{}");
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
  // They are the service manager's: it goes on listening.
  EXPECT_TRUE(std::filesystem::exists(dir_.path() / "sock"));
  test::RawClient waits_for_the_next(tcp.port);
}

TEST_F(ServiceTest, RefusesADescriptorThatDoesNotListen) {
  const base::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  start("", "", {}, {fd.get()});
  EXPECT_EQ(process_->wait(), 1);
  EXPECT_THAT(process_->output(), HasSubstr("not a listening stream socket"));
}

TEST_F(ServiceTest, TellsItsState) {
  start("", "");
  const uint16_t port = process_->listening_port();
  EXPECT_EQ(manager_.receive(), "READY=1\nSTATUS=serving");
  EXPECT_EQ(call(port, "GET", "/v2/").status, 200);
  process_->signal(SIGHUP);
  EXPECT_THAT(manager_.receive(),
              ::testing::ContainsRegex("RELOADING=1.*\n.*MONOTONIC_USEC=[0-9]"));
  EXPECT_EQ(manager_.receive(), "READY=1\nSTATUS=serving");
  process_->signal(SIGTERM);
  EXPECT_THAT(manager_.receive(), HasSubstr("STOPPING=1"));
  EXPECT_EQ(process_->wait(), 0);
}

TEST_F(ServiceTest, TheAccessLogFollowsSighup) {
  start("", "");
  const uint16_t port = process_->listening_port();
  write_config("", "", "log: {accesslog: {format: json}}\n");
  process_->signal(SIGHUP);
  process_->wait_for("configuration read again");
  EXPECT_EQ(call(port, "GET", "/v2/").status, 200);
  EXPECT_THAT(process_->wait_for("/v2/"), HasSubstr("{\""));
}

TEST_F(ServiceTest, ACertificateThatCannotBeUsedChangesNothing) {
  const std::string http = ", tls: {certificate: " + (dir_.path() / "server.pem").string() +
                           ", key: " + (dir_.path() / "server.key").string() + "}";
  test::CertificateAuthority(dir_.path(), "ca").issue_server();
  start(http, "");
  const uint16_t port = process_->listening_port();
  const auto json_in_the_log = [&] {
    test::RawClient client(port, test::TlsClient{.ca = dir_.path() / "ca.pem"});
    EXPECT_EQ(client.get("/v2/").status, 200);
    return process_->wait_for("/v2/").contains("{\"");
  };
  dir_.write("server.pem", "rubbish");
  write_config(http, "", "log: {accesslog: {format: json}}\n");
  process_->signal(SIGHUP);
  EXPECT_THAT(process_->wait_for("stays as it was"), HasSubstr("server.pem"));
  EXPECT_FALSE(json_in_the_log());
}

TEST_F(ServiceTest, AnswersAWatchdog) {
  start("", "", {{"WATCHDOG_USEC", "400000"}});
  manager_.wait_for("WATCHDOG=1");
  manager_.wait_for("WATCHDOG=1");
}

TEST_F(ServiceTest, LoadBalancersHearOfTheEndBeforeItBegins) {
  start("", ", drain_delay: 1h");
  const uint16_t port = process_->listening_port();
  EXPECT_EQ(call(port, "GET", "/healthz").status, 200);
  process_->signal(SIGTERM);
  manager_.wait_for("STOPPING=1");
  process_->wait_for("ending");
  EXPECT_EQ(call(port, "GET", "/healthz").status, 503);
  EXPECT_EQ(call(port, "GET", "/v2/").status, 200);
  push_blob(port, "a", "new connections, new blobs");
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 1);
}

TEST_F(ServiceTest, TheDrainLetsARequestEnd) {
  start(", draintimeout: 1h", "");
  const uint16_t port = process_->listening_port();
  test::RawClient client = begin_upload(port);
  process_->signal(SIGTERM);
  process_->wait_for("draining");
  client.send("hello");
  EXPECT_EQ(client.response().status, 201);
  EXPECT_EQ(process_->wait(), 0);
}

// Whoever opens a FIFO that nobody writes to waits, as on a storage that gives no answer.
TEST_F(ServiceTest, EndsInTimeThoughItsStorageHangs) {
  const test::ReservedPort debug;
  start(", draintimeout: 0s, debug: {addr: '" + debug.address() + "', prometheus: {enabled: true}}",
        "");
  const uint16_t port = process_->listening_port();
  const oci::Digest digest = push_blob(port, "a", "hello");
  const std::filesystem::path file = Layout(dir_.path() / "data").blob(digest);
  std::filesystem::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  test::RawClient client(port);
  client.send("GET /v2/a/blobs/" + digest.str() + " HTTP/1.1\r\nHost: h\r\n\r\n");
  scrape(debug.number(), "registry_http_in_flight_requests{handler=\"blob\"} 1");
  process_->signal(SIGTERM);
  EXPECT_THAT(process_->wait_for("ending at once"), HasSubstr("the requests under way"));
  EXPECT_EQ(process_->wait(), 1);
}

TEST_F(ServiceTest, ASecondSignalEndsTheDrainAtOnce) {
  start(", draintimeout: 1h", ", body_timeout: 1h");
  test::RawClient client = begin_upload(process_->listening_port());
  process_->signal(SIGTERM);
  process_->wait_for("draining");
  process_->signal(SIGINT);
  EXPECT_EQ(process_->wait(), 1);
  EXPECT_THAT(process_->output(), HasSubstr("SIGINT again: ending at once"));
}

}  // namespace
}  // namespace origin

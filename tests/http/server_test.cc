#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <future>
#include <list>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/signal.h"
#include "http/healthz.h"
#include "tests/http/handlers.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::End;
using test::RawClient;
using test::RawResponse;
using test::TestServer;

base::Task<void> send(Exchange* e, std::string body) {
  Response response{.body = std::move(body)};
  co_await e->response.send(std::move(response));
}

base::Task<void> who(Exchange& e) {
  Response response{.body = e.request.peer.address + (e.request.peer.tls ? " tls" : " plain")};
  co_await e.response.send(std::move(response));
}

TEST(Server, ServesEveryKindOfAddress) {
  const test::TempDir dir;
  const std::string path = (dir.path() / "socket").string();
  {
    TestServer server(who, {.address = "unix:" + path});
    RawClient client = RawClient::unix_socket(path);
    EXPECT_EQ(client.get("/").body, "unix plain");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  for (const char* address : {":0", "127.0.0.1:0", "localhost:0"}) {
    TestServer server(who, {.address = address});
    RawClient client(server.port());
    EXPECT_EQ(client.get("/").body, "127.0.0.1 plain") << address;
  }
}

TEST(Server, TakesTheUnixSocketThatADeadServerLeft) {
  const test::TempDir dir;
  const std::string path = (dir.path() / "socket").string();
  {
    const base::UniqueFd left(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, path.size());
    ASSERT_EQ(::bind(left.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  TestServer server(who, {.address = "unix:" + path});
  EXPECT_THROW(TestServer(who, {.address = "unix:" + path}), base::IoError);
  EXPECT_EQ(RawClient::unix_socket(path).get("/").status, 200);
}

TEST(Server, SaysAtOnceThatAnAddressIsWrong) {
  // No name server is asked for a label of more than 63 bytes: that may take half a minute.
  const std::string no_host = std::string(64, 'a') + ".invalid:1";
  for (const std::string& address :
       {std::string("nonsense"), std::string("127.0.0.1:x"), no_host, std::string("192.0.2.1:0")}) {
    EXPECT_THROW(TestServer(who, {.address = address}), base::IoError) << address;
  }
  TestServer first(who);
  // Sharing the port between our own loops must not mean sharing it with a second server.
  EXPECT_THROW(TestServer(who, {.address = "127.0.0.1:" + std::to_string(first.port())}),
               base::IoError);
}

base::Task<void> name_loop(Exchange& e) {
  Response response{.body =
                        std::to_string(reinterpret_cast<uintptr_t>(base::EventLoop::current()))};
  co_await e.response.send(std::move(response));
}

TEST(Server, SpreadsConnectionsOverItsLoops) {
  TestServer server(name_loop, {.loops = 2});
  std::set<std::string> loops;
  std::list<RawClient> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back(server.port());
    loops.insert(clients.back().get("/").body);
  }
  EXPECT_EQ(loops.size(), 2U);
  EXPECT_EQ(server.server().connections(), 64U);
}

TEST(Limits, MoreConnectionsAreClosedAtOnce) {
  Hold hold;
  TestServer server(hold.handler(), {.limits = {.max_connections = 2}});
  RawClient first(server.port());
  RawClient second(server.port());
  first.send(kGet);
  second.send(kGet);
  hold.wait_for_entered(2);
  RawClient third(server.port());
  EXPECT_EQ(third.wait_for_end(), End::clean);
  hold.release();
  EXPECT_EQ(first.response().body, "held");
  EXPECT_EQ(second.response().body, "held");
}

TEST(Limits, WhoHasBeenIdleLongestMakesRoom) {
  TestServer server(who, {.limits = {.max_connections = 3}});
  RawClient silent(server.port());
  while (server.server().connections() < 1) std::this_thread::yield();
  RawClient first(server.port());
  RawClient second(server.port());
  EXPECT_EQ(first.get("/").status, 200);
  EXPECT_EQ(second.get("/").status, 200);
  EXPECT_EQ(first.get("/").status, 200);  // now the second has waited longer
  RawClient third(server.port());
  EXPECT_EQ(third.get("/").status, 200);
  EXPECT_EQ(silent.wait_for_end(), End::clean);
  while (server.server().connections() > 3) std::this_thread::yield();
  RawClient fourth(server.port());
  EXPECT_EQ(fourth.get("/").status, 200);
  EXPECT_EQ(second.wait_for_end(), End::clean);
  EXPECT_EQ(first.get("/").status, 200);
}

// It ends when it has taken what was sent, and cannot make room before.
TEST(Limits, WhoTakesHisTimeToEndDoesNotKeepTheIdle) {
  const std::string large(256 << 10, 'x');
  TestServer server(
      [&](Exchange& e) { return e.request.path == "/large" ? send(&e, large) : who(e); },
      {.limits = {.max_connections = 2}});
  RawClient slow(server.port(), 4096);
  slow.send("GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  server.wait_for_accesses(1);
  RawClient idle(server.port());
  EXPECT_EQ(idle.get("/").status, 200);
  RawClient third(server.port());
  EXPECT_EQ(third.get("/").status, 200);
  server.settle();
  EXPECT_EQ(server.server().connections(), 2U);
  EXPECT_EQ(slow.response().body, large);
}

TEST(Limits, MoreRequestsInFlightAreToldToComeAgain) {
  Hold hold;
  TestServer server(hold.handler(), {.limits = {.max_requests_in_flight = 1}});
  RawClient first(server.port());
  first.send(kGet);
  hold.wait_for_entered(1);
  RawClient second(server.port());
  const RawResponse refused = second.get("/");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.get("Retry-After"), "1");
  hold.release();
  EXPECT_EQ(first.response().body, "held");
  server.wait_for_accesses(2);
  EXPECT_EQ(second.get("/").status, 200);
}

TEST(Limits, AFullServerIsInGoodHealth) {
  Hold hold;
  TestServer server(
      [&](Exchange& e) { return e.request.path == kHealthzPath ? who(e) : hold.handler()(e); },
      {.limits = {.max_requests_in_flight = 1,
                  .request_rate_per_address = {.per_second = 0.001, .burst = 1}}});
  RawClient first(server.port());
  first.send(kGet);
  hold.wait_for_entered(1);
  RawClient balancer(server.port());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(balancer.get("/healthz").status, 200);
  hold.release();
  EXPECT_EQ(first.response().body, "held");
}

TEST(Limits, RunningOutOfDescriptorsPausesAccepting) {
  TestServer server(who);
  RawClient before(server.port());
  EXPECT_EQ(before.get("/").status, 200);
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  std::list<base::UniqueFd> hog;
  rlimit low = old;
  low.rlim_cur = 256;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  while (true) {
    base::UniqueFd fd(::dup(0));
    if (!fd) break;
    hog.push_back(std::move(fd));
  }
  hog.pop_back();                   // for the client; the server finds none
  RawClient client(server.port());  // waits in the backlog
  client.send(kGet);
  EXPECT_EQ(before.get("/").status, 200);  // what is open goes on
  hog.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_EQ(client.response().status, 200);
}

TEST(Drain, ClosesWhatIsIdleAndLetsTheRestEnd) {
  Hold hold;
  std::atomic<bool> deadline_called = false;
  TestServer server(hold.handler(), {.loops = 2});
  RawClient idle(server.port());
  RawClient busy(server.port());
  busy.send(kGet);
  hold.wait_for_entered(1);
  while (server.server().connections() < 2) std::this_thread::yield();
  std::future<size_t> drained = std::async(std::launch::async, [&] {
    return server.server().drain(1h, [&] { deadline_called = true; });
  });
  EXPECT_EQ(idle.wait_for_end(), End::clean);
  EXPECT_NE(drained.wait_for(0s), std::future_status::ready);
  EXPECT_THROW(
      {
        RawClient late(server.port());
        late.get("/");
      },
      std::runtime_error);
  hold.release();
  const RawResponse last = busy.response();
  EXPECT_EQ(last.body, "held");
  EXPECT_EQ(last.headers.get("Connection"), "close");
  EXPECT_EQ(busy.wait_for_end(), End::clean);
  EXPECT_EQ(drained.get(), 0U);
  EXPECT_FALSE(deadline_called);
}

// Writes to a client that reads nothing.
base::Task<void> write_to_the_deaf(Exchange* e, std::promise<void>* begun) {
  const std::string block(1 << 20, 'x');
  co_await e->response.begin(200, {}, uint64_t{1} << 40);
  begun->set_value();
  while (true) co_await e->response.write(block);
}

// Its request may be on the way.
TEST(Drain, ServesWhoHasJustConnected) {
  base::ManualClock clock;
  TestServer server(who, {.clock = &clock});
  RawClient client(server.port());
  RawClient silent(server.port());
  while (server.server().connections() < 2) std::this_thread::yield();
  std::future<size_t> drained =
      std::async(std::launch::async, [&] { return server.server().drain(1h); });
  bool refused = false;
  while (!refused) {
    try {
      RawClient late(server.port());
      late.get("/");
    } catch (const std::runtime_error&) {
      refused = true;
    }
  }
  const RawResponse response = client.get("/");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("Connection"), "close");
  while (drained.wait_for(1ms) != std::future_status::ready) clock.advance(1s);
  EXPECT_EQ(drained.get(), 0U);
  EXPECT_EQ(silent.wait_for_end(), End::clean);
}

TEST(Server, PausesWithoutRefusingAnybody) {
  TestServer server(who, {.loops = 2});
  server.server().pause();
  std::list<RawClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back(server.port());
    clients.back().send(kGet);
    EXPECT_FALSE(clients.back().readable(0));
  }
  EXPECT_EQ(server.server().connections(), 0U);
  server.server().resume();
  for (RawClient& client : clients) EXPECT_EQ(client.response().status, 200);
}

TEST(Drain, ResetsWhatIsLeftAtTheDeadline) {
  base::ManualClock clock;
  std::promise<void> begun;
  bool told = false;
  TestServer server([&](Exchange& e) { return write_to_the_deaf(&e, &begun); },
                    {.limits = {.send_timeout = 24h}, .clock = &clock});
  RawClient client(server.port());
  client.send(kGet);
  begun.get_future().wait();
  std::future<size_t> drained = std::async(
      std::launch::async, [&] { return server.server().drain(60s, [&] { told = true; }); });
  while (drained.wait_for(1ms) != std::future_status::ready) clock.advance(61s);
  EXPECT_EQ(drained.get(), 1U);
  EXPECT_TRUE(told);
  EXPECT_EQ(client.wait_for_end(), End::reset);
  EXPECT_EQ(server.server().connections(), 0U);
}

// What a handler waits for may be ended by whoever owns it, and drain() waits until it is.
TEST(Drain, WaitsForHandlersThatWaitForSomethingElse) {
  base::ManualClock clock;
  Hold hold;
  TestServer server(hold.handler(), {.clock = &clock});
  RawClient client(server.port());
  client.send(kGet);
  hold.wait_for_entered(1);
  std::future<size_t> drained = std::async(
      std::launch::async, [&] { return server.server().drain(60s, [&] { hold.release(); }); });
  while (drained.wait_for(1ms) != std::future_status::ready) clock.advance(61s);
  EXPECT_EQ(server.wait_for_accesses(1).size(), 1U);
  EXPECT_EQ(server.server().connections(), 0U);
}

TEST(AccessLog, TellsWhatHappened) {
  TestServer server(who);
  RawClient client(server.port());
  client.get("/a?b");
  client.send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.response().status, 400);
  const std::vector<test::Access> accesses = server.wait_for_accesses(2);
  EXPECT_EQ(accesses[0].method, "GET");
  EXPECT_EQ(accesses[0].target, "/a?b");
  EXPECT_EQ(accesses[0].status, 200);
  EXPECT_EQ(accesses[0].body_bytes, std::string("127.0.0.1 plain").size());
  EXPECT_TRUE(accesses[0].complete);
  EXPECT_EQ(accesses[1].status, 400);
}

}  // namespace
}  // namespace http

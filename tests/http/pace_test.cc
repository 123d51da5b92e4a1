// How slow a client may be, and how fast it is served.
#include "http/pace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>

#include "http/bandwidth.h"
#include "tests/http/handlers.h"
#include "tests/support/raw_client.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::End;
using test::RawClient;
using test::TestServer;

// A peer of which 100 bytes are asked in 10 seconds.
class PaceTest : public ::testing::Test {
 protected:
  void wait(base::Duration time) {
    pace.begin_wait();
    clock.advance(time);
    pace.end_wait();
  }
  base::ManualClock clock;
  base::EventLoop loop{clock};
  Pace pace{loop, {10s, 10}};
};

TEST_F(PaceTest, IsTooSlowAfterAPeriodOfWaiting) {
  EXPECT_EQ(pace.begin_wait(), clock.now() + 10s);
  pace.end_wait();
  wait(6s);
  pace.moved(99);
  clock.advance(1h);  // nobody waited for the peer
  EXPECT_FALSE(pace.too_slow());
  EXPECT_EQ(pace.begin_wait(), clock.now() + 4s);
  clock.advance(4s);
  pace.end_wait();
  EXPECT_TRUE(pace.too_slow());
}

TEST_F(PaceTest, BeginsAnewWithEveryHundredBytes) {
  for (int i = 0; i < 10; ++i) {
    wait(9s);
    pace.moved(50);
    pace.moved(50);
  }
  wait(9s);
  EXPECT_FALSE(pace.too_slow());
  wait(1s);
  EXPECT_TRUE(pace.too_slow());
}

TEST_F(PaceTest, BeginsAnewInTheMiddleOfAWait) {
  pace.begin_wait();
  clock.advance(9s);
  pace.moved(100);
  clock.advance(9s);
  pace.end_wait();
  EXPECT_FALSE(pace.too_slow());
  wait(1s);
  EXPECT_TRUE(pace.too_slow());
}

// A peer of which 100 bytes of each of two things are asked in 10 seconds.
class PaceGroupTest : public ::testing::Test {
 protected:
  void wait(base::Duration time) {
    one.begin_wait();
    other.begin_wait();
    clock.advance(time);
    one.end_wait();
    other.end_wait();
  }
  base::ManualClock clock;
  base::EventLoop loop{clock};
  PaceGroup group;
  Pace one{loop, {10s, 10}, &group};
  Pace other{loop, {10s, 10}, &group};
};

TEST_F(PaceGroupTest, OneMakesUpForTheOther) {
  for (int i = 0; i < 20; ++i) {
    wait(5s);
    one.moved(110);
    EXPECT_FALSE(one.too_slow());
    EXPECT_FALSE(other.too_slow());
  }
}

TEST_F(PaceGroupTest, TooLittleForBothIsTooLittle) {
  for (int i = 0; i < 2; ++i) {
    wait(5s);
    one.moved(90);
  }
  EXPECT_FALSE(one.too_slow());
  EXPECT_TRUE(other.too_slow());
}

TEST_F(PaceGroupTest, WhatWasMovedLongAgoIsForgotten) {
  one.moved(1 << 20);
  for (int i = 0; i < 2; ++i) {
    wait(10s);
    EXPECT_EQ(one.too_slow() || other.too_slow(), i > 0);
  }
}

TEST_F(PaceTest, WhatItWillBeToldOfCountsOnce) {
  uint64_t untold = 0;
  PaceGroup told_late([&] { return untold; });
  Pace late(loop, {10s, 10}, &told_late);
  const auto is_too_slow = [&] {
    late.begin_wait();
    clock.advance(10s);
    late.end_wait();
    return late.too_slow();
  };
  untold = 110;
  EXPECT_FALSE(is_too_slow());
  untold = 220;
  EXPECT_FALSE(is_too_slow());
  late.moved(std::exchange(untold, 0));
  EXPECT_TRUE(is_too_slow());
}

TEST_F(PaceTest, WithoutARateOneByteIsEnough) {
  Pace any(loop, {10s, 0});
  any.begin_wait();
  clock.advance(9s);
  any.end_wait();
  any.moved(1);
  EXPECT_EQ(any.begin_wait(), clock.now() + 10s);
}

TEST(Bandwidth, IsSharedByAllWhoSend) {
  const base::TimePoint now{1h};
  Bandwidth bandwidth;
  EXPECT_EQ(bandwidth.spend(1 << 30, now), now);
  bandwidth.limit(1000);
  EXPECT_EQ(bandwidth.spend(1050, now), now + 1s);  // with what was not used before
  EXPECT_EQ(bandwidth.spend(500, now), now + 1500ms);
  EXPECT_EQ(bandwidth.spend(500, now + 1h), now + 1h + 450ms);
}

// ---- the server

// Writes for ever; tells when that fails.
base::Task<void> write_until_reset(Exchange* e, std::promise<void>* failed) {
  const std::string block(64 << 10, 'x');
  bool over = false;
  co_await e->response.begin(200, {}, uint64_t{1} << 40);
  while (!over) {
    try {
      co_await e->response.write(block);
    } catch (const ConnectionError&) {
      over = true;
    }
  }
  failed->set_value();
  throw ConnectionError("over");
}

TEST(SlowClient, ThatTakesAHundredBytesASecondIsReset) {
  base::ManualClock clock;
  std::promise<void> failed;
  TestServer server([&](Exchange& e) { return write_until_reset(&e, &failed); }, {.clock = &clock});
  RawClient client(server.port(), 4096);
  client.send(kGet);
  std::future<void> over = failed.get_future();
  int seconds = 0;
  while (over.wait_for(1ms) != std::future_status::ready) {
    ASSERT_LT(++seconds, 600);
    EXPECT_GT(client.receive(100).size(), 0U);
    clock.advance(1s);
    server.settle();
  }
  EXPECT_EQ(client.wait_for_end(), End::reset);
}

base::Task<void> send_bytes(Exchange* e, size_t size) {
  Response response{.body = std::string(size, 'x')};
  co_await e->response.send(std::move(response));
}

// So little is free in the kernel's buffer at a time that it does not call the socket writable.
TEST(SlowClient, ThatMovesIsServedToTheEnd) {
  constexpr size_t kSize = 16 << 20;
  base::ManualClock clock;
  TestServer server([](Exchange& e) { return send_bytes(&e, kSize); }, {.clock = &clock});
  RawClient client(server.port(), 64 << 10);
  client.send(kGet);
  size_t received = 0;
  while (received < kSize) {
    size_t in_a_minute = 0;
    while (in_a_minute < (128 << 10) && received < kSize) {
      const size_t n = client.receive(16 << 10).size();
      ASSERT_GT(n, 0U);
      in_a_minute += n;
      received += n;
    }
    clock.advance(59s);
  }
  EXPECT_TRUE(server.wait_for_accesses(1)[0].complete);
}

// A response that the handler is done with, and of which much is still in the kernel's buffer.
class Untaken {
 public:
  explicit Untaken(const char* fields = "") {
    client.send(std::string("GET /a HTTP/1.1\r\nHost: h\r\n") + fields + "\r\n");
    server.wait_for_accesses(1);
  }
  static constexpr size_t kSize = 256 << 10;
  base::ManualClock clock;
  TestServer server{[](Exchange& e) { return send_bytes(&e, kSize); }, {.clock = &clock}};
  RawClient client{server.port(), 4096};
};

TEST(SlowClient, GetsWhatIsInTheKernelThroughADrain) {
  for (const char* fields : {"", "Connection: close\r\n"}) {
    Untaken untaken(fields);
    std::future<size_t> drained =
        std::async(std::launch::async, [&] { return untaken.server.server().drain(1h); });
    EXPECT_EQ(untaken.client.response().body.size(), Untaken::kSize);
    EXPECT_EQ(untaken.client.wait_for_end(), End::clean);
    while (drained.wait_for(1ms) != std::future_status::ready) untaken.clock.advance(1s);
    EXPECT_EQ(drained.get(), 0U);
  }
}

TEST(SlowClient, ThatNeverTakesTheRestIsReset) {
  for (const char* fields : {"", "Connection: close\r\n"}) {
    Untaken untaken(fields);
    while (untaken.server.server().connections() > 0) {
      untaken.clock.advance(1s);
      std::this_thread::yield();
    }
    EXPECT_EQ(untaken.client.wait_for_end(), End::reset);
  }
}

// Counts what it reads of the body.
base::Task<void> count_body(Exchange* e, std::atomic<size_t>* received) {
  while (true) {
    const std::string_view block = co_await e->body.read();
    if (block.empty()) break;
    *received += block.size();
    received->notify_all();
  }
  Response response{.status = 201};
  co_await e->response.send(std::move(response));
}

TEST(SlowClient, ThatSendsAByteASecondGets408) {
  base::ManualClock clock;
  std::atomic<size_t> received = 0;
  TestServer server([&](Exchange& e) { return count_body(&e, &received); }, {.clock = &clock});
  RawClient client(server.port());
  client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
  for (size_t seconds = 0; !client.readable(0); ++seconds) {
    ASSERT_LT(seconds, 600U);
    client.try_send("x");
    while (received <= seconds && !client.readable(1)) {
    }
    clock.advance(1s);
  }
  EXPECT_EQ(client.response().status, 408);
}

TEST(SlowClient, ThatSendsSlowlyIsHeardToTheEnd) {
  base::ManualClock clock;
  std::atomic<size_t> received = 0;
  TestServer server([&](Exchange& e) { return count_body(&e, &received); }, {.clock = &clock});
  RawClient client(server.port());
  constexpr size_t kPart = 61'500;
  client.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(20 * kPart) +
              "\r\n\r\n");
  for (size_t i = 1; i <= 20; ++i) {
    client.send(std::string(kPart, 'x'));
    for (size_t seen = received; seen < i * kPart; seen = received) received.wait(seen);
    if (i < 20) clock.advance(59s);
  }
  EXPECT_EQ(client.response().status, 201);
}

TEST(Bandwidth, OfAllConnectionsTogetherIsKept) {
  base::ManualClock clock;
  constexpr size_t kSize = 1 << 20;
  TestServer server([](Exchange& e) { return send_bytes(&e, kSize); },
                    {.limits = {.total_bandwidth = kSize}, .clock = &clock, .loops = 2});
  std::vector<std::future<size_t>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::async(std::launch::async,
                                 [&] { return RawClient(server.port()).get("/").body.size(); }));
  }
  int tenths = 0;
  for (std::future<size_t>& client : clients) {
    while (client.wait_for(1ms) != std::future_status::ready) {
      clock.advance(100ms);
      ++tenths;
    }
    EXPECT_EQ(client.get(), kSize);
  }
  EXPECT_GE(tenths, 20);
}

TEST(Bandwidth, OfAConnectionIsKept) {
  constexpr size_t kSize = 2 << 20;
  TestServer server([](Exchange& e) { return send_bytes(&e, kSize); },
                    {.limits = {.connection_bandwidth = 4 << 20}});
  RawClient client(server.port());
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(client.get("/").body.size(), kSize);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 200ms);
}

}  // namespace
}  // namespace http

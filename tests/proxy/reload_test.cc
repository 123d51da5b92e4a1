// What an edge takes over from another configuration while it serves, and what it tells load
// balancers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <future>
#include <latch>
#include <thread>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/log_capture.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

using namespace std::chrono_literals;

class ReloadTest : public EdgeTest {
 protected:
  int health() { return test::fetch(edge->port(), "/healthz").status; }
  void advance_until_health_is(int status) {
    while (health() != status) clock.advance(10s);
  }
  std::filesystem::path cache() const { return directory.path() / "cache"; }

  const TestBlob blob{random_bytes(100'000)};
};

TEST_F(ReloadTest, OtherLimitsAreInForceAtOnce) {
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get(blob.path).body, blob.bytes);
  EdgeConfig other = config();
  other.limits.request_rate_per_address = {.per_second = 0.001, .burst = 1};
  edge->reload(other);
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  const test::Fetched refused = get(blob.path);
  expect_error(refused, 429, "TOOMANYREQUESTS");
  EXPECT_EQ(refused.header("Retry-After"), "1000");
}

TEST_F(ReloadTest, WhatCannotChangeStaysAsItWas) {
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  EdgeConfig other = config();
  other.cache.root = directory.path() / "elsewhere";
  other.name = "edge-2";
  edge->reload(other);
  const test::Fetched answer = get(blob.path);
  EXPECT_EQ(answer.body, blob.bytes);
  EXPECT_EQ(answer.header("Via"), "1.1 edge-1");
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "elsewhere"));
}

TEST_F(ReloadTest, WhatTakesANewStartIsSaidAtEachReloadWhileItDiffers) {
  start();
  EdgeConfig other = config();
  other.name = "edge-2";
  test::LogCapture log;
  edge->reload(other);
  edge->reload(other);
  EXPECT_EQ(log.count("name: changed in the file"), 2U);
  edge->reload(config());
  EXPECT_EQ(log.count("name: changed in the file"), 2U);
}

TEST_F(ReloadTest, ASmallerCacheDisturbsNobody) {
  using namespace test::step;
  start();
  for (unsigned i = 0; i < 6; ++i) {
    const TestBlob idle(random_bytes(1 << 20, i));
    upstream.serve_blob(idle.path, idle.bytes);
    EXPECT_EQ(get(idle.path).status, 200);
  }
  const TestBlob read(random_bytes(16 << 20, 10));
  upstream.serve_blob(read.path, read.bytes);
  EXPECT_EQ(get(read.path).status, 200);
  wait_stored(7);
  test::RawClient reader(edge->port(), 64 << 10);
  reader.send("GET " + read.path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(reader.readable());
  const TestBlob filled(random_bytes(3 << 20, 11));
  upstream.serve_blob(filled.path, filled.bytes);
  upstream.script(filled.path, {send_upto(1 << 20), stall("half")});
  auto client = std::async(std::launch::async, [&] { return get(filled.path); });
  upstream.wait_stalled("half");

  constexpr uint64_t kSmaller = 4 << 20;
  EdgeConfig smaller = config();
  smaller.cache.capacity = kSmaller;
  edge->reload(smaller);
  EXPECT_EQ(edge->stats().capacity, kSmaller);
  while (edge->stats().blobs > 1) std::this_thread::yield();
  upstream.release("half");
  EXPECT_TRUE(client.get().body == filled.bytes);
  EXPECT_TRUE(reader.response().body == read.bytes);
  EXPECT_EQ(upstream.count(filled.path), 1U);
  EXPECT_EQ(upstream.count(read.path), 1U);
  const auto used = [this] {
    const cache::StoreStats stats = edge->stats();
    return stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes;
  };
  while (used() > kSmaller) std::this_thread::yield();

  edge->reload(config());
  EXPECT_EQ(get(read.path).status, 200);
  while (!test::fetch(edge->port(), read.path, {.method = "HEAD"})
              .header("Cache-Status")
              .ends_with("hit")) {
  }
}

TEST_F(ReloadTest, OtherLimitsOfACacheThatAnotherProcessHasAreForWhenItIsBack) {
  start();
  edge->release();
  EdgeConfig smaller = config();
  smaller.cache.capacity = 4 << 20;
  smaller.cache.quotas = {{"origin", 1 << 20}};
  edge->reload(smaller);
  edge->resume();
  EXPECT_EQ(edge->stats().capacity, 4U << 20);
  EXPECT_EQ(edge->stats().account("origin").quota, 1U << 20);
}

TEST_F(ReloadTest, OtherUpstreamsAreAsked) {
  test::FakeUpstream other_upstream;
  other_upstream.serve_blob(blob.path, blob.bytes);
  start();
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  EdgeConfig other = config();
  other.upstreams.front().urls = {other_upstream.url()};
  edge->reload(other);
  // What was known of the former one, that it has no such blob, is not known of this one.
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(upstream.count(blob.path), 1U);
}

TEST_F(ReloadTest, AnUpstreamThatIsTheSameKeepsItsState) {
  EdgeConfig timed = config();
  timed.clock = &clock;
  start(timed);
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  EdgeConfig other = config();
  other.upstreams.push_back(other.upstreams.front());
  other.upstreams.back().name = "another";
  other.upstreams.back().hosts = {"another.example"};
  edge->reload(other);
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  EXPECT_EQ(upstream.count(blob.path), 1U);
}

TEST_F(ReloadTest, AFillGoesOnWithTheUpstreamItBeganWith) {
  using namespace test::step;
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {send_upto(1000), stall("half")});
  start();
  auto client = std::async(std::launch::async, [&] { return get(blob.path); });
  upstream.wait_stalled("half");
  EdgeConfig other = config();
  other.upstreams.front().urls = {"http://127.0.0.1:1"};
  edge->reload(other);
  upstream.release("half");
  EXPECT_EQ(client.get().body, blob.bytes);
}

// ---- while another process has the cache

TEST_F(ReloadTest, WithoutTheCacheBlobsArePassedThrough) {
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  test::RawClient client(edge->port());
  EXPECT_EQ(client.get("/v2/").status, 200);
  edge->release();
  for (int i = 0; i < 2; ++i) {
    const test::RawResponse answer = client.get(blob.path);
    EXPECT_EQ(answer.headers.get("Cache-Status"), "edge-1; fwd=uri-miss");
    EXPECT_TRUE(answer.body == blob.bytes);
  }
  edge->resume();
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  wait_stored(1);
  EXPECT_EQ(client.get(blob.path).headers.get("Cache-Status"), "edge-1; hit");
}

// Nothing is sent of it, so there is nothing to hold back.
TEST_F(ReloadTest, WithoutTheCacheAnEmptyAnswerIsNoBlob) {
  const TestBlob empty("");
  upstream.serve_blob(blob.path, "");
  upstream.serve_blob(empty.path, "");
  start();
  test::RawClient client(edge->port());
  EXPECT_EQ(client.get("/v2/").status, 200);
  edge->release();
  EXPECT_EQ(client.get(blob.path).status, 502);
  EXPECT_EQ(client.get(empty.path).status, 200);
}

TEST_F(ReloadTest, AFillGoesOnWithoutTheCacheAndIsKeptIfThatComesBack) {
  using namespace test::step;
  for (const size_t size : {size_t{5'000}, size_t{3} << 20}) {  // in memory, and in a file
    const TestBlob filled(random_bytes(size, static_cast<unsigned>(size)));
    upstream.serve_blob(filled.path, filled.bytes);
    for (const bool back : {false, true}) {
      const std::string half = filled.path + (back ? "1" : "2");
      upstream.script(filled.path, {send_upto(size / 2), stall(half)});
      start();
      auto client = std::async(std::launch::async, [&] { return get(filled.path); });
      upstream.wait_stalled(half);
      while (edge->stats().reserved_bytes == 0) std::this_thread::yield();  // it has begun to store
      edge->release();
      EXPECT_TRUE(std::filesystem::is_empty(cache() / "incoming")) << "the other one begins anew";
      if (back) edge->resume();
      upstream.release(half);
      EXPECT_TRUE(client.get().body == filled.bytes);
      if (back) {
        wait_stored(1);
        EXPECT_EQ(get(filled.path).header("Cache-Status"), "edge-1; hit");
      }
      stop();
      std::filesystem::remove_all(cache());
    }
  }
}

TEST_F(ReloadTest, ConnectionsAreAcceptedWhileACommitWaitsForTheDisk) {
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  std::atomic<bool> committing = false;
  std::latch disk(1);
  const base::InjectedFault slow("fsync", [&](std::string_view path) {
    if (path.find(blob.digest.hex()) == std::string_view::npos) return 0;
    committing = true;
    committing.notify_all();
    disk.wait();
    return 0;
  });
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  committing.wait(false);
  test::RawClient client(edge->port());
  EXPECT_EQ(client.get("/v2/").status, 200);
  auto release = std::async(std::launch::async, [&] { edge->release(); });
  // Once nothing new is stored, the edge is about to let go.
  std::string status;
  for (unsigned i = 0; status != "edge-1; fwd=uri-miss"; ++i) {
    const TestBlob other(random_bytes(100, i));
    upstream.serve_blob(other.path, other.bytes);
    const test::RawResponse answer = client.get(other.path);
    EXPECT_EQ(answer.body, other.bytes);
    status = answer.headers.get("Cache-Status").value_or("");
  }
  test::RawClient newcomer(edge->port());
  newcomer.send("GET /v2/ HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(newcomer.readable());
  disk.count_down();
  release.get();
  edge->resume();
  EXPECT_EQ(get(blob.path).header("Cache-Status"), "edge-1; hit");
}

// Nor may the cache be closed under them.
TEST_F(ReloadTest, WhoNeverLetsGoOfTheCacheIsNotWaitedForForEver) {
  const TestBlob other(random_bytes(100'000, 2));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.serve_blob(other.path, other.bytes);
  start();
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  wait_stored(1);
  stop();
  EdgeConfig timed = config();
  timed.cache.clock = &clock;
  start(timed);
  std::latch opening(1);
  std::latch disk(1);
  const base::InjectedFault hanging("open", [&](std::string_view path) {
    if (path.find(blob.digest.hex()) == std::string_view::npos) return 0;
    opening.count_down();
    disk.wait();
    return 0;
  });
  auto reader = std::async(std::launch::async, [&] { return get(blob.path); });
  opening.wait();
  auto release = std::async(std::launch::async, [&] { edge->release(); });
  while (release.wait_for(0s) != std::future_status::ready) clock.advance(kReleaseTime);
  EXPECT_THROW(release.get(), base::IoError);
  edge->resume();
  EXPECT_EQ(get(other.path).body, other.bytes);
  wait_stored(2);
  EXPECT_EQ(get(other.path).header("Cache-Status"), "edge-1; hit");
  disk.count_down();
  EXPECT_EQ(reader.get().body, blob.bytes);
  edge->release();
  edge->resume();
  EXPECT_EQ(get(other.path).header("Cache-Status"), "edge-1; hit");
}

TEST_F(ReloadTest, LoadBalancersHearOfTheEnd) {
  EdgeConfig slow = config();
  slow.drain_delay = 7s;
  start(slow);
  EXPECT_EQ(health(), 200);
  EXPECT_EQ(edge->leave(), 7s);
  EXPECT_EQ(health(), 503);
  EXPECT_EQ(get("/v2/").status, 200);
}

TEST_F(ReloadTest, LoadBalancersHearOfADiskThatFails) {
  upstream.serve_blob(blob.path, blob.bytes);
  EdgeConfig timed = config();
  timed.clock = &clock;
  start(timed);
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  wait_stored(1);
  EXPECT_EQ(health(), 200);
  std::filesystem::rename(cache() / "lock", cache() / "elsewhere");
  advance_until_health_is(503);
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  std::filesystem::rename(cache() / "elsewhere", cache() / "lock");
  advance_until_health_is(200);
}

TEST_F(ReloadTest, LoadBalancersHearOfADiskThatHangs) {
  EdgeConfig timed = config();
  timed.clock = &clock;
  start(timed);
  std::filesystem::rename(cache() / "lock", cache() / "elsewhere");
  // Who opens it to write waits for somebody who reads.
  ASSERT_EQ(::mkfifo((cache() / "lock").c_str(), 0600), 0);
  advance_until_health_is(503);
  const base::UniqueFd reader = base::open_file(cache() / "lock", O_RDWR | O_NONBLOCK);
  std::filesystem::rename(cache() / "elsewhere", cache() / "lock");
  advance_until_health_is(200);
}

}  // namespace
}  // namespace proxy

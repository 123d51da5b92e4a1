// What the store cannot take: served all the same, verified, at one request for each client.
#include <atomic>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/fault_point.h"
#include "http/range.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

// A blob that does not fit is served all the same, verified, and not kept.
class PassThroughTest : public EdgeTest {
 protected:
  PassThroughTest() : blob(random_bytes(3 * kMiB + 100)) {
    upstream.serve_blob(blob.path, blob.bytes);
    EdgeConfig small = config();
    small.cache.capacity = 2 * kMiB;
    small.clock = &clock;
    start(std::move(small));
  }
  ~PassThroughTest() override {
    if (!edge) return;
    EXPECT_EQ(edge->stats().blobs, 0U);
    EXPECT_EQ(edge->stats().reserved_bytes, 0U);
  }
  TestBlob blob;
};

TEST_F(PassThroughTest, GivesTheBlob) {
  const test::Fetched answer = get(blob.path);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_TRUE(answer.body == blob.bytes);
  EXPECT_EQ(answer.header("Cache-Status"), "edge-1; fwd=uri-miss");
  EXPECT_EQ(answer.header("Content-Length"), std::to_string(blob.bytes.size()));
}

TEST_F(PassThroughTest, GivesRanges) {
  EXPECT_TRUE(get(blob.path, "bytes=100-1100000").body == blob.bytes.substr(100, 1'099'901));
  EXPECT_TRUE(get(blob.path, "bytes=2000000-").body == blob.bytes.substr(2'000'000));
  EXPECT_TRUE(get(blob.path, "bytes=-10").body == blob.bytes.substr(blob.bytes.size() - 10));
  EXPECT_EQ(get(blob.path, "bytes=4000000-").status, 416);
  const test::Fetched parts = get(blob.path, "bytes=0-9,15-16,2000000-2000009");
  EXPECT_EQ(parts.status, 206);
  EXPECT_TRUE(parts.complete);
  EXPECT_NE(parts.body.find(blob.bytes.substr(2'000'000, 10)), std::string::npos);
}

// As many as a request may have, each of an upstream that answers with all of the blob.
TEST_F(PassThroughTest, SeveralRangesCostTheBlobOnceOfAnUpstreamWithoutRanges) {
  const TestBlob large(random_bytes(19 * kMiB));
  upstream.serve_blob(large.path, large.bytes);
  for (size_t i = 0; i <= http::kMaxRanges; ++i) {
    upstream.script(large.path, {test::step::ignore_range()});
  }
  std::string ranges = "bytes=0-9";
  std::string last;
  for (size_t i = 1; i < http::kMaxRanges; ++i) {
    // Some of them in what one read of the answer brings.
    const size_t at = i % 4 == 0 ? i * kMiB : i / 4 * 4 * kMiB + i % 4 * 1000;
    ranges += "," + std::to_string(at) + "-" + std::to_string(at + 9);
    last = large.bytes.substr(at, 10);
  }
  const test::Fetched parts = get(large.path, ranges);
  EXPECT_EQ(parts.status, 206);
  EXPECT_TRUE(parts.complete);
  EXPECT_NE(parts.body.find(last), std::string::npos);
  EXPECT_EQ(upstream.count(large.path), 1U);
  // Out of order they would not come of one.
  const test::Fetched whole = get(large.path, "bytes=2000000-2000009,5-6");
  EXPECT_EQ(whole.status, 200);
  EXPECT_TRUE(whole.complete && whole.body == large.bytes);
  EXPECT_EQ(upstream.count(large.path), 2U);
}

// What is beside the last block must have been hashed with it.
TEST_F(PassThroughTest, SeveralRangesThatReachTheLastBlockAreTheWhole) {
  EXPECT_TRUE(get(blob.path).body == blob.bytes);  // its size is known from now on
  for (const char* ranges : {"bytes=0-3145727,3145728-", "bytes=3145728-,0-3145727", "bytes=5-6,-1",
                             "bytes=3145728-3145730,3145740-3145741"}) {
    const size_t asked = upstream.count(blob.path);
    const test::Fetched whole = get(blob.path, ranges);
    EXPECT_EQ(whole.status, 200);
    EXPECT_TRUE(whole.complete && whole.body == blob.bytes) << ranges;
    EXPECT_EQ(upstream.count(blob.path), asked + 1);
  }
  // One transfer lies, another would not.
  upstream.script(blob.path, {test::step::corrupt(5)});
  EXPECT_FALSE(get(blob.path, "bytes=0-3145727,3145728-").complete);
}

TEST_F(PassThroughTest, NeverCompletesWrongBytes) {
  std::string wrong = blob.bytes;
  wrong[5] ^= 1;
  upstream.serve_blob(blob.path, wrong);
  EXPECT_FALSE(get(blob.path).complete);
  EXPECT_FALSE(get(blob.path, "bytes=3145728-3145730").complete);
}

TEST_F(PassThroughTest, WaitsForNoTransfersEnd) {
  upstream.script(blob.path, {test::step::chunked()});
  upstream.script(blob.path, {test::step::expect_method("HEAD")});
  upstream.script(blob.path, {test::step::chunked(), test::step::send_upto(blob.bytes.size()),
                              test::step::stall("end")});
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  upstream.release("end");
}

TEST_F(PassThroughTest, ResumesABrokenTransfer) {
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::close()});
  const test::Fetched answer = get(blob.path);
  EXPECT_TRUE(answer.complete);
  EXPECT_TRUE(answer.body == blob.bytes);
  EXPECT_EQ(upstream.count(blob.path), 2U);
}

TEST_F(PassThroughTest, ResumesThatBringNothingNewComeToAnEnd) {
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::close()});
  for (int i = 0; i < 10; ++i) {
    upstream.script(blob.path, {test::step::ignore_range(), test::step::send_upto(2 * kMiB),
                                test::step::close()});
  }
  EXPECT_FALSE(get(blob.path).complete);
  EXPECT_EQ(upstream.count(blob.path), UpstreamConfig().rounds);
}

// Each would be a request for next to nothing.
TEST_F(PassThroughTest, PartsTooSmallToBeOfUseComeToAnEnd) {
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::close()});
  for (uint64_t at = 2 * kMiB; at < 2 * kMiB + 10; ++at) {
    http::Headers range;
    range.set("Content-Range", "bytes " + std::to_string(at) + "-" + std::to_string(at) + "/" +
                                   std::to_string(blob.bytes.size()));
    upstream.script(blob.path, {test::step::respond(206, range, blob.bytes.substr(at, 1))});
  }
  EXPECT_FALSE(get(blob.path).complete);
  EXPECT_EQ(upstream.count(blob.path), UpstreamConfig().rounds);
}

TEST_F(PassThroughTest, ManyClientsAtOnceCostARequestEach) {
  // All of them begin while the upstream has not answered the first.
  upstream.script(blob.path, {test::step::stall("first")});
  std::vector<std::thread> clients;
  clients.reserve(10);
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back([&] { EXPECT_TRUE(get(blob.path).body == blob.bytes); });
  }
  upstream.wait_stalled("first");
  upstream.release("first");
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(upstream.count(blob.path), 10U);
  EXPECT_EQ(upstream.bytes_sent(blob.path), 10 * blob.bytes.size());
}

// The size is told by a request that brings what nobody wanted, then known for ten seconds.
TEST_F(PassThroughTest, ARangeCostsARequestOnceTheSizeIsKnown) {
  const auto ask = [&] {
    EXPECT_TRUE(get(blob.path, "bytes=1000000-1000999").body == blob.bytes.substr(1'000'000, 1000));
    return upstream.count(blob.path);
  };
  EXPECT_EQ(ask(), 2U);
  EXPECT_EQ(ask(), 3U);
  EXPECT_EQ(ask(), 4U);
  clock.advance(std::chrono::seconds(10));
  EXPECT_EQ(ask(), 6U);
}

TEST_F(PassThroughTest, ARangeFromTheBeginningGoesOnWithTheFirstAnswer) {
  EXPECT_TRUE(get(blob.path, "bytes=0-999").body == blob.bytes.substr(0, 1000));
  EXPECT_EQ(upstream.count(blob.path), 1U);
}

// More than what the first answer brings, when ranges are wanted.
TEST_F(PassThroughTest, ALongRangeFromTheBeginningTakesTwo) {
  const TestBlob large(random_bytes(20 * kMiB));
  upstream.serve_blob(large.path, large.bytes);
  EXPECT_TRUE(get(large.path, "bytes=0-").body == large.bytes);
  EXPECT_EQ(upstream.count(large.path), 2U);
  EXPECT_EQ(upstream.bytes_sent(large.path), large.bytes.size());
}

// Nothing proves the end but all that comes before it.
TEST_F(PassThroughTest, TheEndOfABlobCostsTheWholeOnce) {
  const std::string last = blob.bytes.substr(3 * kMiB);
  EXPECT_EQ(get(blob.path, "bytes=-1").body, last.substr(99));
  const uint64_t sent = upstream.bytes_sent(blob.path);
  const size_t asked = upstream.count(blob.path);
  EXPECT_EQ(get(blob.path, "bytes=-1").body, last.substr(99));
  EXPECT_EQ(get(blob.path, "bytes=-100").body, last);
  clock.advance(std::chrono::minutes(9));
  EXPECT_EQ(get(blob.path, "bytes=3145730-3145737").body, last.substr(2, 8));
  EXPECT_EQ(upstream.count(blob.path), asked);
  EXPECT_EQ(upstream.bytes_sent(blob.path), sent);
  // What is more than the end is still verified with all the rest.
  EXPECT_TRUE(get(blob.path, "bytes=3145720-").body == blob.bytes.substr(3145720));
  EXPECT_GT(upstream.count(blob.path), asked);
  clock.advance(std::chrono::minutes(1));
  EXPECT_EQ(get(blob.path, "bytes=-1").body, last.substr(99));
  EXPECT_GT(upstream.count(blob.path), asked + 1);
}

TEST_F(PassThroughTest, AnEndThatWasWrongIsNotRemembered) {
  upstream.script(blob.path, {test::step::corrupt(3 * kMiB + 1)});
  EXPECT_FALSE(get(blob.path, "bytes=-100").complete);
  EXPECT_EQ(get(blob.path, "bytes=-100").body, blob.bytes.substr(3 * kMiB));
}

TEST_F(PassThroughTest, WhatNobodyWaitsForAnyMoreIsFetchedNoFurther) {
  const TestBlob large(random_bytes(64 * kMiB));
  upstream.serve_blob(large.path, large.bytes);
  upstream.script(large.path, {});  // brings as much as a run, and the size
  upstream.script(large.path, {test::step::send_upto(kMiB), test::step::stall("slow")});
  {
    test::RawClient client(edge->port());
    client.send("GET " + large.path + " HTTP/1.1\r\nHost: edge\r\nRange: bytes=-1\r\n\r\n");
    upstream.wait_stalled("slow");
  }
  upstream.release("slow");
  stop();  // waits for requests in flight
  EXPECT_LT(upstream.requests().back().bytes_sent, 32 * kMiB);
}

TEST_F(PassThroughTest, AnUpstreamThatSaysNoLaterIsNoReset) {
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  upstream.script(blob.path, {test::step::respond(404)});
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  const TestBlob elsewhere(blob.bytes, "other");
  expect_error(get(elsewhere.path), 404, "BLOB_UNKNOWN");
  upstream.stop();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
}

TEST_F(PassThroughTest, AskedWhetherItChangedItSendsNothing) {
  test::FetchOptions options;
  options.headers.set("If-None-Match", "\"" + blob.digest.str() + "\"");
  EXPECT_EQ(test::fetch(edge->port(), blob.path, options).status, 304);
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
}

// Clients that are passed through are as slow as they like. Of two requests they have one.
TEST_F(EdgeTest, WhoIsPassedThroughLeavesRequestsToFills) {
  const TestBlob large(random_bytes(3 * kMiB));
  const TestBlob too(random_bytes(3 * kMiB, 2));
  const TestBlob small(random_bytes(1000));
  upstream.serve_blob(large.path, large.bytes);
  upstream.serve_blob(too.path, too.bytes);
  upstream.serve_blob(small.path, small.bytes);
  upstream.script(large.path, {test::step::send_upto(kMiB), test::step::stall("slow")});
  EdgeConfig few = config();
  few.cache.capacity = 2 * kMiB;
  few.upstreams[0].max_requests = 2;
  few.upstreams[0].queue_timeout = std::chrono::hours(1);
  few.upstreams[0].client.stall_timeout = std::chrono::hours(1);
  few.admin.address = "127.0.0.1:0";
  few.admin.token = "the-token";
  start(std::move(few));
  const auto passed_waiting = [&] {
    test::FetchOptions options;
    options.headers.set("Authorization", "Bearer the-token");
    const auto stats =
        nlohmann::json::parse(test::fetch(edge->admin_port(), "/stats", options).body);
    return stats.at("upstreams").at(0).at("passed_waiting").get<int>();
  };
  std::thread one([&] { EXPECT_TRUE(get(large.path).body == large.bytes); });
  upstream.wait_stalled("slow");
  // It has the answer that told that it does not fit, and gives it up to wait.
  std::thread other([&] { EXPECT_TRUE(get(too.path).body == too.bytes); });
  while (passed_waiting() < 1) std::this_thread::yield();
  EXPECT_EQ(get(small.path).body, small.bytes);
  upstream.release("slow");
  one.join();
  other.join();
}

// Whatever the reason: a request for each client, as long as it lasts, and no longer.
class UnstorableTest : public EdgeTest {
 protected:
  UnstorableTest() { upstream.serve_blob(blob.path, blob.bytes); }
  void expect_a_request_each() {
    for (size_t asked = upstream.count(blob.path); asked < 3; ++asked) {
      const test::Fetched answer = get(blob.path);
      EXPECT_TRUE(answer.body == blob.bytes);
      EXPECT_EQ(answer.header("Cache-Status"), "edge-1; fwd=uri-miss");
      EXPECT_EQ(upstream.count(blob.path), asked + 1);
    }
    EXPECT_EQ(edge->stats().blobs, 0U);
  }
  void expect_stored_with_one_more() {
    EXPECT_EQ(get(blob.path).header("Cache-Status"), "edge-1; fwd=uri-miss; stored");
    wait_stored(1);
    EXPECT_EQ(upstream.count(blob.path), 4U);
  }
  const TestBlob blob{random_bytes(3 * kMiB + 100)};
};

TEST_F(UnstorableTest, AboveItsQuota) {
  EdgeConfig with_quota = config();
  with_quota.cache.quotas["origin"] = 2 * kMiB;
  start(std::move(with_quota));
  expect_a_request_each();
}

TEST_F(UnstorableTest, NoRoomOnTheDiskUntilThereIs) {
  std::atomic<uint64_t> free = 3 * kMiB;
  EdgeConfig full = config();
  full.cache.min_free = kMiB;
  full.cache.free_bytes = [&] { return free.load(); };
  start(std::move(full));
  expect_a_request_each();
  free = 30 * kMiB;
  expect_stored_with_one_more();
  stop();  // its thread asks for the free bytes
}

TEST_F(UnstorableTest, AFailingDiskUntilItIsWell) {
  start();
  {
    const base::InjectedFault fault("create", EIO);
    expect_a_request_each();
  }
  expect_stored_with_one_more();
}

TEST_F(UnstorableTest, AReadOnlyDiskUntilItIsTriedAgain) {
  EdgeConfig timed = config();
  timed.clock = timed.cache.clock = &clock;
  start(std::move(timed));
  {
    const base::InjectedFault fault("create", EROFS);
    expect_a_request_each();
  }
  clock.advance(cache::kReadOnlyPause);
  expect_stored_with_one_more();
}

}  // namespace
}  // namespace proxy

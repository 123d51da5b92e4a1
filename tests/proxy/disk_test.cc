// The edge on a disk that fails, and under a clock that jumps: what clients see of it.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <memory>
#include <thread>

#include "base/fault_point.h"
#include "cache/layout.h"
#include "tests/proxy/edge_fixture.h"

namespace proxy {
namespace {

using base::InjectedFault;

class DiskTest : public EdgeTest {
 protected:
  DiskTest() : blob_(random_bytes(3 * kMiB + 77)), layout_(directory.path() / "cache") {
    upstream.serve_blob(blob_.path, blob_.bytes);
  }

  // With a copy that is open, and that no fill has anything to do with any more.
  void start_with_blob() {
    start();
    EXPECT_EQ(get(blob_.path).body, blob_.bytes);
    wait_stored(1);
    stop();
    start();
    EXPECT_EQ(get(blob_.path).header("Cache-Status"), "edge-1; hit");
  }
  // The copy was dropped and fetched again, and the client has noticed nothing.
  void expect_served_and_refilled(const std::string& range = "", uint64_t offset = 0,
                                  uint64_t length = UINT64_MAX) {
    const test::Fetched answer = get(blob_.path, range);
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.status, range.empty() ? 200 : 206);
    EXPECT_TRUE(answer.body == blob_.bytes.substr(offset, length));
    EXPECT_EQ(upstream.count(blob_.path), 2U);
    // Until the new copy is stored: then it is a hit that asks nobody.
    while (get(blob_.path).header("Cache-Status") != "edge-1; hit") {
    }
    EXPECT_TRUE(get(blob_.path).body == blob_.bytes);
    EXPECT_EQ(upstream.count(blob_.path), 2U);
  }
  const TestBlob blob_;
  const cache::Layout layout_;
};

TEST_F(DiskTest, ACopyThatGotShorterIsServedOnFromTheUpstream) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), 2 * kMiB + 100);
  expect_served_and_refilled();
}

TEST_F(DiskTest, ACopyThatIsEmptyToo) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), 0);
  expect_served_and_refilled();
}

TEST_F(DiskTest, ARangeOfIt) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), kMiB);
  expect_served_and_refilled("bytes=1000000-2999999", 1'000'000, 2'000'000);
}

TEST_F(DiskTest, ASmallRangeOfIt) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), kMiB);
  expect_served_and_refilled("bytes=2000000-2000999", 2'000'000, 1'000);
}

TEST_F(DiskTest, SeveralRangesOfIt) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), kMiB);
  const test::Fetched answer = get(blob_.path, "bytes=0-99,2000000-2000099,3000000-3000099");
  EXPECT_TRUE(answer.complete);
  for (const size_t offset : {0, 2'000'000, 3'000'000}) {
    EXPECT_NE(answer.body.find(blob_.bytes.substr(offset, 100)), std::string::npos) << offset;
  }
}

class ReadErrorTest : public DiskTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Reads, ReadErrorTest, ::testing::Values(1, 2, 9, 20));

// The n-th read of a file that is being served fails; each is of 128 KiB.
TEST_P(ReadErrorTest, IsServedOnFromTheUpstream) {
  start_with_blob();
  std::atomic<int> reads = 0;
  const InjectedFault not_in_memory("serve.resident", EIO);
  const InjectedFault fault("serve.read",
                            [&](std::string_view) { return ++reads == GetParam() ? EIO : 0; });
  expect_served_and_refilled();
}

// The same while the blob is being fetched; 0: every read fails.
class FillReadErrorTest : public ReadErrorTest {};
INSTANTIATE_TEST_SUITE_P(Reads, FillReadErrorTest, ::testing::Values(0, 1, 2, 9));

TEST_P(FillReadErrorTest, IsPassedThrough) {
  start();
  std::atomic<int> reads = 0;
  const InjectedFault not_in_memory("serve.resident", EIO);
  const InjectedFault fault("serve.read", [&](std::string_view) {
    return ++reads == GetParam() || GetParam() == 0 ? EIO : 0;
  });
  const test::Fetched answer = get(blob_.path);
  EXPECT_TRUE(answer.complete);
  EXPECT_TRUE(answer.body == blob_.bytes);
}

// Of another URL the rest might come whole, and be the rest of other bytes.
TEST_F(DiskTest, WhatWasSentOfAFillAndCannotBeReadAgainIsAReset) {
  const TestBlob blob(random_bytes(4 * kMiB, 5));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(3 * kMiB), test::step::stall("unverified")});
  start();
  std::atomic<int> reads = 0;
  const InjectedFault not_in_memory("serve.resident", EIO);
  const InjectedFault fault("serve.read", [&](std::string_view) { return ++reads > 20 ? EIO : 0; });
  EXPECT_FALSE(get(blob.path).complete);
  upstream.release("unverified");
}

// A later fill of the same partial blob writes the right bytes where the client has got wrong ones.
TEST_F(DiskTest, WhatWasSentOfAFillAndIsAnothersNowIsAReset) {
  const TestBlob blob(random_bytes(4 * kMiB, 5));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path,
                  {test::step::corrupt(2 * kMiB + 5), test::step::send_upto(2 * kMiB + kMiB / 2),
                   test::step::stall("unverified")});
  start();
  std::atomic<int> reads = 0;
  std::latch reads_again(1);
  std::latch other_done(1);
  const InjectedFault not_in_memory("serve.resident", EIO);
  const InjectedFault fault("serve.read", [&](std::string_view) {
    const int read = ++reads;
    if (read == 21) {
      reads_again.count_down();
      other_done.wait();
    }
    return read == 20 ? EIO : 0;
  });
  std::thread client([&] { EXPECT_FALSE(get(blob.path).complete); });
  upstream.wait_stalled("unverified");
  reads_again.wait();
  upstream.stop();
  get(blob.path);  // when that fails, the first fill has ended
  upstream.start();
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  other_done.count_down();
  client.join();
}

// The first part goes on past the store when that fails, so the second must not be of a transfer
// that is right.
TEST_F(DiskTest, SeveralRangesOfAFillWhoseStoreFailsNeverComeOfTwoTransfers) {
  const TestBlob blob(random_bytes(4 * kMiB, 5));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(kMiB), test::step::stall("half")});
  upstream.script(blob.path, {test::step::corrupt(2 * kMiB)});
  start();
  std::atomic<bool> failing = false;
  const InjectedFault fault("write", [&](std::string_view) { return failing ? EIO : 0; });
  test::FetchOptions options;
  options.headers.set("Range", "bytes=0-3145727,3145728-");
  options.on_progress = [&](uint64_t) {
    failing = true;
    upstream.release("half");
    return true;
  };
  EXPECT_FALSE(test::fetch(edge->port(), blob.path, options).complete);
}

// What goes back would be another transfer of the whole blob.
TEST_F(DiskTest, SeveralRangesOfAFillWhoseStoreFailsCostAnUpstreamWithoutRangesOneMore) {
  const TestBlob blob(random_bytes(4 * kMiB, 5));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::ignore_range(), test::step::send_upto(kMiB / 2),
                              test::step::stall("half")});
  upstream.script(blob.path, {test::step::ignore_range()});
  start();
  std::atomic<bool> failing = false;
  const InjectedFault fault("write", [&](std::string_view) { return failing ? EIO : 0; });
  test::FetchOptions options;
  options.headers.set("Range", "bytes=0-999999,3000000-3000009,2500000-2500009");
  options.on_progress = [&](uint64_t) {
    failing = true;
    upstream.release("half");
    return true;
  };
  EXPECT_FALSE(test::fetch(edge->port(), blob.path, options).complete);
  EXPECT_EQ(upstream.count(blob.path), 2U);
}

TEST_F(DiskTest, ABadCopyIsFetchedInItsOwnNameWhereAnothersHasNone) {
  const TestBlob elsewhere(blob_.bytes, "elsewhere");
  upstream.script(elsewhere.path, {test::step::stall("asked")});  // and then 404
  start_with_blob();
  std::atomic<int> reads = 0;
  std::latch other_asks(1);
  const InjectedFault not_in_memory("serve.resident", EIO);
  const InjectedFault fault("serve.read", [&](std::string_view) {
    const int read = ++reads;
    if (read == 1) other_asks.wait();
    return read <= 2 ? EIO : 0;
  });
  std::thread client([&] { EXPECT_TRUE(get(blob_.path).body == blob_.bytes); });
  while (reads < 1) std::this_thread::yield();
  std::thread other([&] { EXPECT_FALSE(get(elsewhere.path).complete); });
  upstream.wait_stalled("asked");
  other_asks.count_down();
  // Most likely the client waits for the other's fill by now.
  while (get("/v2/").status != 200 || reads < 2) std::this_thread::yield();
  upstream.release("asked");
  client.join();
  other.join();
}

TEST_F(DiskTest, ManyReadersOfABadCopyShareOneFill) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), kMiB);
  std::vector<std::thread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&] { EXPECT_TRUE(get(blob_.path).body == blob_.bytes); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(upstream.count(blob_.path), 2U);
}

TEST_F(DiskTest, ABadCopyWithoutAnUpstreamIsAReset) {
  start_with_blob();
  std::filesystem::resize_file(layout_.blob(blob_.digest), kMiB);
  upstream.stop();
  EXPECT_FALSE(get(blob_.path).complete);
  EXPECT_EQ(edge->stats().blobs, 0U);
  expect_error(get(blob_.path), 502, "UNAVAILABLE");
}

class OpenErrorTest : public DiskTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(OfTheFile, OpenErrorTest,
                         ::testing::Values(EIO, EBADMSG, EUCLEAN, ENODATA, ESTALE));
class ProcessErrorTest : public OpenErrorTest {};
INSTANTIATE_TEST_SUITE_P(OfTheProcess, ProcessErrorTest,
                         ::testing::Values(EACCES, EMFILE, ENFILE, ENOMEM));

TEST_P(OpenErrorTest, AHitThatCannotBeOpenedIsAMiss) {
  start_with_blob();
  stop();
  start();
  {
    const InjectedFault fault("open", GetParam(), layout_.blob(blob_.digest));
    EXPECT_TRUE(get(blob_.path).body == blob_.bytes);
  }
  EXPECT_EQ(upstream.count(blob_.path), 2U);
}

TEST_P(ProcessErrorTest, AHitThatCannotBeOpenedNowIsPassedThrough) {
  start_with_blob();
  stop();
  start();
  {
    const InjectedFault fault("open", GetParam(), layout_.blob(blob_.digest));
    const test::Fetched answer = get(blob_.path);
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.body == blob_.bytes);
    EXPECT_EQ(head(blob_.path).status, 200);
  }
  EXPECT_EQ(get(blob_.path).header("Cache-Status"), "edge-1; hit") << "and stays";
  EXPECT_EQ(edge->stats().blobs, 1U);
}

TEST_F(DiskTest, AReadOnlyDiskServesItsHits) {
  start_with_blob();
  const InjectedFault fault("create", EROFS);
  const TestBlob other(random_bytes(kMiB, 9));
  upstream.serve_blob(other.path, other.bytes);
  get(other.path);
  EXPECT_TRUE(edge->stats().read_only);
  const test::Fetched hit = get(blob_.path);
  EXPECT_TRUE(hit.body == blob_.bytes);
  EXPECT_EQ(hit.header("Cache-Status"), "edge-1; hit");
}

TEST_F(DiskTest, ALostIndexIsNoMiss) {
  start_with_blob();
  stop();
  std::filesystem::remove_all(layout_.index());
  const auto resumed = std::make_shared<std::latch>(1);
  const InjectedFault walk("walk.batch", [resumed](std::string_view) {
    resumed->wait();
    return 0;
  });
  upstream.stop();
  start();
  EXPECT_TRUE(get(blob_.path).body == blob_.bytes);
  const test::Fetched again = get(blob_.path);
  EXPECT_EQ(again.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(head(blob_.path).status, 200);
  resumed->count_down();
}

TEST_F(DiskTest, SmallBlobsAreHitsWithoutAFile) {
  const TestBlob small(random_bytes(4000, 5));
  upstream.serve_blob(small.path, small.bytes);
  start();
  EXPECT_EQ(get(small.path).body, small.bytes);
  wait_stored(1);
  EXPECT_TRUE(std::filesystem::is_empty(layout_.blobs()));
  for (const bool restart : {false, true}) {
    if (restart) {
      stop();
      start();
    }
    const test::Fetched hit = get(small.path);
    EXPECT_EQ(hit.header("Cache-Status"), "edge-1; hit");
    EXPECT_EQ(hit.body, small.bytes);
    EXPECT_EQ(get(small.path, "bytes=100-199").body, small.bytes.substr(100, 100));
    EXPECT_EQ(get(small.path, "bytes=-1").body, small.bytes.substr(3999));
    EXPECT_NE(get(small.path, "bytes=0-9,20-29").body.find(small.bytes.substr(20, 10)),
              std::string::npos);
    EXPECT_EQ(head(small.path).header("Content-Length"), "4000");
  }
  EXPECT_EQ(upstream.count(small.path), 1U);
}

// ---- the clock

TEST_F(DiskTest, AgeIsNeverNegativeAndNothingExpires) {
  constexpr int64_t kHour = int64_t{3600} * 1'000'000;
  std::atomic<int64_t> jump = 5 * kHour;  // the clock is ahead when the blob is stored …
  EdgeConfig jumping = config();
  jumping.cache.wall_clock = [&] { return cache::unix_microseconds() + jump; };
  start(std::move(jumping));
  EXPECT_EQ(get(blob_.path).body, blob_.bytes);
  wait_stored(1);
  jump = 0;  // … and put right
  const test::Fetched hit = get(blob_.path);
  EXPECT_EQ(hit.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(hit.header("Age"), "0");
  jump = 24 * 365 * 10 * kHour;
  EXPECT_EQ(get(blob_.path).header("Cache-Status"), "edge-1; hit");

  // Stored while the clock was behind: only Age shows it.
  const TestBlob other(random_bytes(100'000, 3));
  upstream.serve_blob(other.path, other.bytes);
  jump = -5 * kHour;
  EXPECT_EQ(get(other.path).body, other.bytes);
  wait_stored(2);
  const int age = std::stoi(get(other.path).header("Age"));
  EXPECT_GE(age, 5 * 3600);
  EXPECT_LT(age, 6 * 3600);
  stop();
  start();
  EXPECT_EQ(get(blob_.path).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(get(other.path).header("Cache-Status"), "edge-1; hit");
}

}  // namespace
}  // namespace proxy

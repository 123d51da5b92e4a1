// What the disk has spoilt without a word: found, slowly, and dropped.
#include "cache/scrub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <string_view>

#include "base/fault_point.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

class ScrubTest : public test::StoreTest {
 protected:
  static constexpr uint64_t kSize = 3 * kMiB + 5;
  static constexpr auto kSecond = std::chrono::seconds(1);
  static constexpr auto kDay = std::chrono::hours(24);

  void open_store(uint64_t rate, uint64_t inline_limit = 0) {
    open(BlobStoreOptions{.root = root(),
                          .capacity = 100 * kMiB,
                          .inline_limit = inline_limit,
                          .scrub_rate = rate,
                          .clock = &clock});
  }
  void spoil(const std::string& bytes, size_t at) {
    std::fstream file(layout.blob(digest_of(bytes)),
                      std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(bytes[at] ^ 1));
  }
  // Until so many bytes were read again in all. It may begin with any of the blobs.
  void read_again(uint64_t bytes) {
    for (int day = 0; day < 50 && store->stats().scrubbed_bytes < bytes; ++day) {
      clock.advance(kDay);
      store->scrub();
    }
    ASSERT_GE(store->stats().scrubbed_bytes, bytes);
  }

  // Until a copy was found to be bad, but no longer than all of them take to be read.
  void read_until_bad() {
    for (int day = 0; day < 50 && store->stats().bad_copies == 0; ++day) {
      clock.advance(kDay);
      store->scrub();
    }
    EXPECT_EQ(store->stats().bad_copies, 1U);
  }

  const std::string one = content(1, kSize);
  const std::string two = content(2, kSize);
  const std::string three = content(3, kSize);
  base::ManualClock clock;
};

TEST_F(ScrubTest, ACopyThatWasSpoiltIsFoundAndDropped) {
  open_store(2 * kMiB);
  for (const std::string& bytes : {one, two, three}) put(*store, digest_of(bytes), bytes);
  spoil(two, kSize / 2);
  read_until_bad();
  EXPECT_FALSE(store->contains(digest_of(two)));
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(two))));
  read_again(store->stats().scrubbed_bytes + 3 * kSize);
  EXPECT_TRUE(held(one) && held(three));
  EXPECT_EQ(store->stats().bad_copies, 1U);
  put(*store, digest_of(two), two);
  expect_consistent();
}

TEST_F(ScrubTest, ReadsNoFasterThanItMay) {
  open_store(kMiB);
  put(*store, digest_of(one), one);
  // It may be in a gap between two rounds.
  read_again(1);
  const uint64_t before = store->stats().scrubbed_bytes;
  store->scrub();
  EXPECT_EQ(store->stats().scrubbed_bytes, before);
  clock.advance(std::chrono::milliseconds(500));
  store->scrub();
  EXPECT_EQ(store->stats().scrubbed_bytes, before + kMiB / 2);
  clock.advance(10 * kSecond);
  store->scrub();
  EXPECT_EQ(store->stats().scrubbed_bytes, before + kMiB / 2 + kMiB) << "no more than of a second";
}

TEST_F(ScrubTest, ReadsNoFasterThanItMayWhenItIsCalledOften) {
  open_store(64 * 1024);
  put(*store, digest_of(one), one);
  read_again(1);
  const uint64_t before = store->stats().scrubbed_bytes;
  for (int call = 0; call < 1000; ++call) {
    clock.advance(std::chrono::milliseconds(10));
    store->scrub();
  }
  EXPECT_LE(store->stats().scrubbed_bytes, before + 10 * 64 * 1024 + 4096);
  EXPECT_GE(store->stats().scrubbed_bytes, before + 9 * 64 * 1024);
}

// The store's thread has more to do.
TEST_F(ScrubTest, TakesASecondAtMostOfADiskThatIsSlower) {
  open_store(16 * kMiB);
  const std::string large = content(5, 16 * kMiB);
  put(*store, digest_of(large), large);
  const base::InjectedFault slow("open", [&](std::string_view path) {
    if (path == layout.blob(digest_of(large)).native()) clock.advance(kSecond);
    return 0;
  });
  read_again(1);
  EXPECT_LE(store->stats().scrubbed_bytes, 8 * kMiB) << "in one go, or the store's thread had some";
}

TEST_F(ScrubTest, WaitsUntilTheTreeIsRead) {
  // More than one batch of the walk.
  for (uint64_t i = 0; i < 600; ++i) {
    write_file(layout.blob(digest_of(content(i, 10))), content(i, 10));
  }
  std::atomic<int> opened = 0;
  std::atomic<int> meanwhile = 0;
  const base::InjectedFault opens("open", [&](std::string_view path) {
    if (path.contains("/blobs/")) ++opened;
    return 0;
  });
  const base::InjectedFault walk("walk.batch", [&](std::string_view) {
    meanwhile = opened.load();
    clock.advance(kDay);
    return 0;
  });
  open_store(100 * kMiB);
  wait_complete();
  EXPECT_EQ(meanwhile, 0);
  store.reset();
}

// It may be the disk that fails, for a while, and not they.
TEST_F(ScrubTest, NoMoreThanOneCopyIsDroppedAtOnce) {
  open_store(100 * kMiB);
  for (uint64_t i = 0; i < 20; ++i) put(*store, digest_of(content(i, 5000)), content(i, 5000));
  const base::InjectedFault fault("open", EIO, "/blobs/");
  read_until_bad();
}

TEST_F(ScrubTest, ReadsABlobOnceADay) {
  open_store(kMiB);
  put(*store, digest_of(one), one);
  read_again(kSize);
  uint64_t most = 0;
  for (int second = 0; second < 3600; ++second) {
    clock.advance(kSecond);
    store->scrub();
    most = store->stats().scrubbed_bytes;
  }
  EXPECT_LE(most, 2 * kSize) << "the round that was begun anywhere, and one more";
}

TEST_F(ScrubTest, WhatGoesOrIsReplacedInTheMiddleIsNotBad) {
  for (const bool comes_back : {false, true}) {
    open_store(kMiB);
    put(*store, digest_of(one), one);
    spoil(one, 0);  // its successor is good
    read_again(kMiB);
    EXPECT_TRUE(store->remove(digest_of(one)));
    EXPECT_EQ(store->stats().unlinked_bytes, 0U) << "nobody holds it";
    put(*store, digest_of(comes_back ? one : two), comes_back ? one : two);
    read_again(store->stats().scrubbed_bytes + kSize);
    EXPECT_EQ(store->stats().bad_copies, 0U);
    store->remove(digest_of(two));
  }
}

TEST_F(ScrubTest, ACopyThatCannotBeReadIsDropped) {
  open_store(kMiB);
  put(*store, digest_of(one), one);
  const base::InjectedFault fault("open", EUCLEAN, digest_of(one).hex());
  read_until_bad();
  EXPECT_FALSE(store->contains(digest_of(one)));
}

TEST_F(ScrubTest, IsOffAndOnByTheLimits) {
  open_store(0);
  put(*store, digest_of(one), one);
  clock.advance(kDay);
  store->scrub();
  EXPECT_EQ(store->stats().scrubbed_bytes, 0U);
  store->set_limits({.capacity = 100 * kMiB, .scrub_rate = kMiB});
  read_again(kSize);
}

TEST_F(ScrubTest, SmallBlobsOfTheIndexAreNotReadAgain) {
  open_store(kMiB, 8192);
  const std::string small = content(4, 5000);
  put(*store, digest_of(small), small);
  put(*store, digest_of(one), one);
  read_again(kSize);
  EXPECT_TRUE(held(small));
}

}  // namespace
}  // namespace cache

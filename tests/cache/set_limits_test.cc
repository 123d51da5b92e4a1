// Limits that change, while the store serves or from one start to the next.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;

class SetLimitsTest : public test::StoreTest {
 protected:
  void TearDown() override {
    let_store_go_on();
    StoreTest::TearDown();
  }

  bool put(uint64_t seed) {
    const std::string bytes = content(seed, kMiB);
    return test::put(*store, digest_of(bytes), bytes) != nullptr;
  }
  std::shared_ptr<const Blob> read(uint64_t seed) {
    return store->open(digest_of(content(seed, kMiB)));
  }
  void set_capacity(uint64_t bytes) { store->set_limits({.capacity = bytes}); }

  // A disk with so much free, of which the store's own thread hears nothing until it may go on.
  void open_with_a_store_that_waits(BlobStoreOptions options) {
    options.root = root();
    options.free_bytes = [this, test = std::this_thread::get_id()] {
      if (std::this_thread::get_id() != test) go_on_.wait();
      const uint64_t taken = used_at_disk();
      return kDisk - std::min(kDisk, taken);
    };
    open(options);
  }
  void let_store_go_on() {
    if (!go_on_.try_wait()) go_on_.count_down();
  }

  static constexpr uint64_t kDisk = 40 * kMiB;

 private:
  uint64_t used_at_disk() const {
    uint64_t bytes = 0;
    std::error_code gone;
    for (std::filesystem::recursive_directory_iterator entry(layout.blobs(), gone), end;
         entry != end; entry.increment(gone)) {
      if (entry->is_regular_file(gone)) bytes += entry->file_size(gone);
    }
    return bytes;
  }
  std::latch go_on_{1};
};

TEST_F(SetLimitsTest, ASmallerCapacityUnderLoad) {
  constexpr uint64_t kThreads = 3;
  constexpr uint64_t kLess = 10 * kMiB;
  open(30 * kMiB);
  for (uint64_t i = 0; i < 20; ++i) put(i);
  const std::shared_ptr<const Blob> reader = read(0);
  const std::string filled = content(100, 4 * kMiB);
  auto fill = *store->write(digest_of(filled), filled.size());
  test::write_blocks(*fill, filled, 0, 2);

  const uint64_t before = used();
  std::atomic<int> more = 0;
  std::atomic<int> refused = 0;
  std::atomic<int> wrong = 0;
  std::barrier shrunk(kThreads + 1);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      shrunk.arrive_and_wait();
      for (uint64_t i = 0; i < 20; ++i) {
        const uint64_t seed = 1000 * (t + 1) + i;
        if (!put(seed)) ++refused;
        const std::shared_ptr<const Blob> blob = read(seed);
        if (blob && test::read_all(*blob) != content(seed, kMiB)) ++wrong;
        if (used() > before) ++more;
      }
    });
  }
  set_capacity(kLess);
  EXPECT_EQ(store->stats().capacity, kLess);
  shrunk.arrive_and_wait();
  test::write_blocks(*fill, filled, 2, 4);
  EXPECT_EQ(test::read_all(*fill->commit()), filled);
  threads.clear();
  EXPECT_EQ(more, 0);
  EXPECT_EQ(refused, 0);
  EXPECT_EQ(wrong, 0);
  store->keep_limits();
  EXPECT_LE(used(), kLess);
  EXPECT_EQ(test::read_all(*reader), content(0, kMiB));
  EXPECT_TRUE(store->contains(digest_of(content(0, kMiB)))) << "it is in use";
  expect_consistent();
}

TEST_F(SetLimitsTest, AWriterGivesUpNoMoreThanItTakes) {
  open_with_a_store_that_waits({.capacity = 30 * kMiB, .min_free = 1});
  for (uint64_t i = 0; i < 16; ++i) put(i);
  store->set_limits({.capacity = 4 * kMiB, .min_free = 1});
  const uint64_t before = used();
  EXPECT_TRUE(put(20));
  EXPECT_LE(used(), before);
  EXPECT_LE(store->stats().evicted, 2U) << "for the blob, and for its map";
  let_store_go_on();
  while (used() > 4 * kMiB) std::this_thread::yield();
  EXPECT_TRUE(read(20));
  expect_consistent();
}

TEST_F(SetLimitsTest, NorForAHigherFloor) {
  open_with_a_store_that_waits({.capacity = 100 * kMiB, .min_free = kMiB});
  for (uint64_t i = 0; i < 16; ++i) put(i);
  store->set_limits({.capacity = 100 * kMiB, .min_free = 36 * kMiB});
  EXPECT_TRUE(put(20));
  EXPECT_LE(store->stats().evicted, 2U);
  let_store_go_on();
  while (used() > 4 * kMiB) std::this_thread::yield();
  EXPECT_TRUE(read(20));
  expect_consistent();
}

class StartAboveLimitsTest : public SetLimitsTest {
 protected:
  // Of 16 blobs the limits allow four.
  void start_with(const BlobStoreOptions& options) {
    open(30 * kMiB);
    for (uint64_t i = 0; i < 16; ++i) put(i);
    open_with_a_store_that_waits(options);
  }
  void expect_served_and_kept() {
    EXPECT_EQ(store->stats().evicted, 0U) << "by the start";
    for (uint64_t i = 0; i < 16; ++i) EXPECT_TRUE(held(content(i, kMiB))) << i;
    const uint64_t before = used();
    EXPECT_TRUE(put(20));
    EXPECT_LE(used(), before);
    EXPECT_LE(store->stats().evicted, 2U) << "for the blob, and for its map";
    EXPECT_FALSE(store->write(digest_of("x"), 31 * kMiB)) << "there is nothing more to give up";
    let_store_go_on();
    while (used() > 4 * kMiB) std::this_thread::yield();
    EXPECT_EQ(store->stats().blobs, 4U);
    expect_consistent();
  }
};

TEST_F(StartAboveLimitsTest, ASmallerCapacityIsServedFromAtOnce) {
  start_with({.capacity = 4 * kMiB, .min_free = 1});
  expect_served_and_kept();
}

TEST_F(StartAboveLimitsTest, ADiskThatIsTooFullToo) {
  start_with({.capacity = 100 * kMiB, .min_free = 36 * kMiB});
  expect_served_and_kept();
}

TEST_F(SetLimitsTest, WhatIsInUseIsLeftUntilItIsNot) {
  open(10 * kMiB);
  std::vector<std::shared_ptr<const Blob>> readers;
  for (uint64_t i = 0; i < 8; ++i) {
    put(i);
    if (i < 5) readers.push_back(read(i));
  }
  set_capacity(2 * kMiB);
  store->keep_limits();
  EXPECT_EQ(store->stats().blobs, 5U);
  EXPECT_FALSE(put(20)) << "nothing can be given up for it";
  for (uint64_t i = 0; i < 5; ++i) EXPECT_EQ(test::read_all(*readers[i]), content(i, kMiB));
  readers.clear();
  store->keep_limits();
  EXPECT_EQ(store->stats().blobs, 2U);
  EXPECT_TRUE(put(20));
  expect_consistent();
}

TEST_F(SetLimitsTest, AGreaterCapacityIsThereAtOnce) {
  open(3 * kMiB);
  std::vector<std::shared_ptr<const Blob>> readers;
  for (uint64_t i = 0; i < 3; ++i) {
    put(i);
    readers.push_back(read(i));
  }
  EXPECT_FALSE(put(10));
  set_capacity(10 * kMiB);
  for (uint64_t i = 10; i < 16; ++i) EXPECT_TRUE(put(i));
  EXPECT_EQ(store->stats().evicted, 0U);
  EXPECT_EQ(store->stats().capacity, 10 * kMiB);
  readers.clear();
  expect_consistent();
}

}  // namespace
}  // namespace cache

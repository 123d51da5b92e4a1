// A lost index: the store serves what the tree has at once, while a thread of its own reads it.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fault_point.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

class LostIndexTest : public test::StoreTest {
 protected:
  static constexpr uint64_t kBlobs = 600;  // more than two batches
  static constexpr uint64_t kSize = 300;

  static std::string bytes(uint64_t number) { return content(number, kSize); }
  static oci::Digest digest(uint64_t number) { return digest_of(bytes(number)); }

  void SetUp() override {
    for (uint64_t i = 0; i < kBlobs; ++i) write_file(layout.blob(digest(i)), bytes(i));
  }
  void TearDown() override {
    resume();
    StoreTest::TearDown();
  }

  // The reading of the tree waits at the beginning of every batch until resume().
  void hold() {
    resumed_ = std::make_shared<std::latch>(1);
    fault_.emplace("walk.batch", [resumed = resumed_](std::string_view) {
      resumed->wait();
      return 0;
    });
  }
  void resume() {
    if (resumed_) resumed_->count_down();
    resumed_.reset();
    fault_.reset();
  }

 private:
  std::shared_ptr<std::latch> resumed_;
  std::optional<base::InjectedFault> fault_;
};

TEST_F(LostIndexTest, NothingThatIsThereIsAMissMeanwhile) {
  hold();
  open();
  EXPECT_FALSE(store->stats().complete);
  EXPECT_EQ(store->stats().blobs, 0U) << "what is known";
  for (uint64_t i = 0; i < kBlobs; i += 50) {
    EXPECT_TRUE(store->may_hold(digest(i)));
    EXPECT_TRUE(held(bytes(i))) << i;
    EXPECT_NE(store->hot(digest(i)), nullptr);
  }
  EXPECT_EQ(store->stats().blobs, 12U);
  EXPECT_TRUE(store->may_hold(digest_of("none"))) << "nobody knows yet";
  EXPECT_EQ(store->open(digest_of("none")), nullptr);

  resume();
  wait_complete();
  EXPECT_FALSE(store->may_hold(digest_of("none")));
  EXPECT_EQ(store->stats().blobs, kBlobs);
  expect_consistent();
  open();
  EXPECT_TRUE(store->stats().complete);
  EXPECT_EQ(store->stats().blobs, kBlobs);
  expect_consistent();
}

TEST_F(LostIndexTest, WhatIsStoredAndRemovedMeanwhileIsSo) {
  hold();
  open();
  EXPECT_TRUE(store->remove(digest(0)));
  EXPECT_FALSE(store->remove(digest(0)));
  EXPECT_TRUE(held(bytes(1)));
  EXPECT_TRUE(store->remove(digest(1)));
  put(*store, digest(2), bytes(2));  // in the place of a file that is not known yet
  put(*store, digest(kBlobs), bytes(kBlobs));
  resume();
  wait_complete();
  for (const bool restart : {false, true}) {
    if (restart) open();
    EXPECT_FALSE(store->contains(digest(0)));
    EXPECT_FALSE(store->contains(digest(1)));
    EXPECT_TRUE(held(bytes(2)));
    EXPECT_TRUE(held(bytes(kBlobs)));
    EXPECT_EQ(store->stats().blobs, kBlobs - 1);
    expect_consistent();
  }
}

TEST_F(LostIndexTest, TheNextStartGoesOnWhereAnEndCameBefore) {
  {
    // After one batch, and not later, whether the store's end or the disk's is seen first.
    std::atomic<int> batches = 0;
    std::latch ending(1);
    const base::InjectedFault end("walk.batch", [&](std::string_view) {
      if (batches++ > 0) throw base::IoError(EIO, "the second batch");
      ending.wait();
      return 0;
    });
    open();
    EXPECT_TRUE(held(bytes(7)));
    ending.count_down();
    store.reset();
  }
  hold();
  open();
  EXPECT_FALSE(store->stats().complete);
  EXPECT_TRUE(held(bytes(7)));
  EXPECT_TRUE(held(bytes(400)));
  resume();
  wait_complete();
  EXPECT_EQ(store->stats().blobs, kBlobs);
  expect_consistent();
}

TEST_F(LostIndexTest, TheBudgetIsKeptAsTheTreeBecomesKnown) {
  const uint64_t capacity = kBlobs / 2 * Space::on_disk(kSize);
  hold();
  open(capacity - kMap);
  const auto reader = store->open(digest(3));
  resume();
  wait_complete();
  EXPECT_LE(store->stats().blob_bytes, capacity);
  EXPECT_EQ(store->stats().blobs, kBlobs / 2);
  EXPECT_TRUE(store->contains(digest(3))) << "it is being read";
  expect_consistent();
}

TEST_F(LostIndexTest, AnUnreadableTreeIsStillServed) {
  const base::InjectedFault fault("index.commit", EIO);
  hold();
  EXPECT_THROW(open(), base::IoError) << "an index can be made, or there is no start";
}

TEST_F(LostIndexTest, ReadersWritersAndPurgesDuringTheWalk) {
  open();
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = t; i < kBlobs; i += 4) {
        if (i % 3 == 0) {
          store->remove(digest(i));
        } else if (i % 3 == 1) {
          if (!held(bytes(i))) ++wrong;
        } else if (i % 30 == 2) {
          put(*store, digest(i), bytes(i));
        }
      }
    });
  }
  threads.clear();
  wait_complete();
  EXPECT_EQ(wrong, 0);
  for (const bool restart : {false, true}) {
    if (restart) open();
    for (uint64_t i = 0; i < kBlobs; ++i) EXPECT_EQ(store->contains(digest(i)), i % 3 != 0) << i;
    expect_consistent();
  }
}

}  // namespace
}  // namespace cache

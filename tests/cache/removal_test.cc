// Files that are removed: their directories are synced later, and nobody waits for that.
#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <optional>
#include <string>
#include <thread>

#include "base/fault_point.h"
#include "cache/index.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

class RemovalTest : public test::StoreTest {
 protected:
  // The store's thread waits for go_on() when it syncs, and but for the first times that fails.
  void SetUp() override {
    fault_.emplace("fsync", [this, test = std::this_thread::get_id()](std::string_view path) {
      if (std::this_thread::get_id() == test) {
        if (path == layout.blob(digest_of(first_)).parent_path().native()) ++by_test_;
        return 0;
      }
      if (!syncing_.try_wait()) syncing_.count_down();
      go_on_.wait();
      return syncs_++ < good_syncs_ ? 0 : EIO;
    });
    open(3 * kMiB);
    put(*store, digest_of(first_), first_);
    by_test_ = 0;
  }
  void TearDown() override {
    go_on();
    StoreTest::TearDown();
  }
  void go_on() {
    if (!go_on_.try_wait()) go_on_.count_down();
  }
  // What the index still has of removed files, once the store is closed.
  std::vector<oci::Digest> tombstones() {
    store.reset();
    return Index::open(layout.index())->content.tombstones;
  }

  const std::string first_ = content(1, 2 * kMiB);
  const std::string second_ = content(2, 2 * kMiB);
  std::latch syncing_{1};
  std::atomic<int> syncs_ = 0;
  std::atomic<int> good_syncs_ = 1;
  std::atomic<int> by_test_ = 0;  // of the directory of the first

 private:
  std::latch go_on_{1};
  std::optional<base::InjectedFault> fault_;
};

TEST_F(RemovalTest, NobodyWaitsForADirectoryToBeSynced) {
  EXPECT_TRUE(store->write(digest_of(second_), second_.size())) << "evicts the first";
  EXPECT_FALSE(store->contains(digest_of(first_)));
  EXPECT_EQ(by_test_, 0);
  syncing_.wait();
  EXPECT_NE(put(*store, digest_of(second_), second_), nullptr);
  EXPECT_TRUE(store->write(digest_of(content(3, kMiB)), 2 * kMiB)) << "evicts the second";
  EXPECT_EQ(by_test_, 0);
  expect_consistent();
  go_on();
  EXPECT_THAT(tombstones(), testing::Not(testing::Contains(digest_of(first_))));
}

TEST_F(RemovalTest, WhatIsStoredAgainMeanwhileStays) {
  store->remove(digest_of(first_));
  syncing_.wait();
  put(*store, digest_of(first_), first_);
  go_on();
  EXPECT_THAT(tombstones(), testing::IsEmpty());
  open(3 * kMiB);
  EXPECT_TRUE(held(first_));
  expect_consistent();
}

TEST_F(RemovalTest, WhatIsRemovedAgainMeanwhileHasATombstoneUntilThatIsSynced) {
  store->remove(digest_of(first_));
  syncing_.wait();
  put(*store, digest_of(first_), first_);
  store->remove(digest_of(first_));
  go_on();
  EXPECT_THAT(tombstones(), testing::ElementsAre(digest_of(first_)));
}

TEST_F(RemovalTest, AStartRemovesAgainWhatAPowerCutBringsBack) {
  store->remove(digest_of(first_));
  syncing_.wait();
  put(*store, digest_of(first_), first_);
  store->remove(digest_of(first_));
  go_on();
  store.reset();
  write_file(layout.blob(digest_of(first_)), first_);
  open(3 * kMiB);
  EXPECT_FALSE(store->contains(digest_of(first_)));
  expect_consistent();
}

// The file that was brought back is not what the blob that was to replace it has become.
TEST_F(RemovalTest, NorIsItTakenForWhatWasToReplaceIt) {
  store->remove(digest_of(first_));
  {
    auto writer = store->write(digest_of(first_), first_.size());
    ASSERT_TRUE(writer);
    (*writer)->write(0, std::string_view(first_).substr(0, kMiB));
    (*writer)->mark(0);
  }
  go_on();
  store.reset();
  write_file(layout.blob(digest_of(first_)), first_.substr(0, 100));
  open(3 * kMiB);
  EXPECT_FALSE(store->contains(digest_of(first_)));
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(first_))));
  EXPECT_EQ(store->partial_size(digest_of(first_)), first_.size());
  expect_consistent();
}

TEST_F(RemovalTest, WhatCouldNotBeRemovedKeepsItsTombstone) {
  good_syncs_ = 2;
  const std::string third = content(3, 4096);
  put(*store, digest_of(third), third);
  {
    const base::InjectedFault full("index.commit", ENOSPC);
    const base::InjectedFault bad("unlink", EIO, layout.blob(digest_of(first_)));
    store->remove(digest_of(first_));
  }
  store->remove(digest_of(third));
  syncing_.wait();
  go_on();
  while (syncs_ == 0) std::this_thread::yield();
  EXPECT_THAT(tombstones(), testing::Contains(digest_of(first_)));
}

TEST_F(RemovalTest, ADirectoryThatCannotBeReachedStopsNobody) {
  put(*store, digest_of(content(3, 4096)), content(3, 4096));
  const std::filesystem::path directory = layout.blob(digest_of(content(3, 4096))).parent_path();
  store->remove(digest_of(first_));
  syncing_.wait();
  store->remove(digest_of(content(3, 4096)));
  std::filesystem::remove(directory);
  std::filesystem::create_symlink(directory, directory);
  std::atomic<bool> tried = false;
  const base::InjectedFault look("open", [&](std::string_view path) {
    if (path == directory.native()) tried = true;
    return 0;
  });
  go_on();
  while (!tried) std::this_thread::yield();
  EXPECT_THAT(tombstones(), testing::Contains(digest_of(content(3, 4096))));
}

TEST_F(RemovalTest, AlsoWhatIsKeptInTheIndexNow) {
  const std::string small = content(3, 100);
  put(*store, digest_of(small), small);
  open(BlobStoreOptions{.root = root(), .capacity = 3 * kMiB, .inline_limit = 100});
  syncs_ = 1;
  put(*store, digest_of(small), small);
  syncing_.wait();
  go_on();
  EXPECT_THAT(tombstones(), testing::ElementsAre(digest_of(small)));
  write_file(layout.blob(digest_of(small)), small);
  open(BlobStoreOptions{.root = root(), .capacity = 3 * kMiB, .inline_limit = 100});
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(small))));
  EXPECT_TRUE(held(small));
}

}  // namespace
}  // namespace cache

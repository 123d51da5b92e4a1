// The budget and the floor of free disk, also when others fill the disk and when it is full.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fault_point.h"
#include "cache/files.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

// What the files below a directory take on disk.
uint64_t disk_usage(const std::filesystem::path& root) {
  uint64_t bytes = 0;
  std::error_code gone;  // files come and go meanwhile
  for (std::filesystem::recursive_directory_iterator entry(root, gone), end; entry != end;
       entry.increment(gone)) {
    struct stat facts{};
    if (::lstat(entry->path().c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
      bytes += static_cast<uint64_t>(facts.st_blocks) * 512;
    }
  }
  return bytes;
}

class FloorTest : public test::StoreTest {
 protected:
  static constexpr uint64_t kDisk = 100 * kMiB;
  static constexpr uint64_t kFloor = 10 * kMiB;

  // A store on a disk that the cache shares with `others`. Its thread finds the disk empty until it
  // is to look: it would evict besides what a test has evicted, and count a file twice that is
  // renamed meanwhile.
  void open_beside_others(uint64_t capacity = 1000 * kMiB, uint64_t inline_limit = 0) {
    open(BlobStoreOptions{.root = root(),
                          .capacity = capacity,
                          .min_free = kFloor,
                          .inline_limit = inline_limit,
                          .free_bytes = [this] {
                            return store_looks || std::this_thread::get_id() == test_ ? free_bytes()
                                                                                      : kDisk;
                          }});
  }
  uint64_t free_bytes() const {
    const uint64_t used = others + disk_usage(root());
    return used > kDisk ? 0 : kDisk - used;
  }
  bool put_blob(uint64_t seed, uint64_t size) {
    return put(*store, digest_of(content(seed, size)), content(seed, size)) != nullptr;
  }

  std::atomic<uint64_t> others = 0;
  std::atomic<bool> store_looks = false;

 private:
  const std::thread::id test_ = std::this_thread::get_id();
};

TEST_F(FloorTest, EvictsToLeaveTheDiskItsFloor) {
  open_beside_others();
  for (uint64_t i = 0; i < 12; ++i) {
    EXPECT_TRUE(put_blob(i, 10 * kMiB)) << i;
    EXPECT_GE(free_bytes(), kFloor);
  }
  EXPECT_EQ(store->stats().blobs, 8U);  // the ninth would leave less, by the index's few pages
  EXPECT_FALSE(store->contains(digest_of(content(0, 10 * kMiB))));
  EXPECT_TRUE(held(content(11, 10 * kMiB)));
  expect_consistent();
}

TEST_F(FloorTest, WhatIsReservedAndNotWrittenCounts) {
  others = 60 * kMiB;
  open_beside_others();
  // As on a file system that cannot set room aside.
  const base::InjectedFault fault("allocate", EOPNOTSUPP);
  const std::string large = content(1, 20 * kMiB);
  auto first = *store->write(digest_of(large), large.size());
  EXPECT_GE(free_bytes(), 39 * kMiB);
  EXPECT_EQ(store->write(digest_of("x"), 11 * kMiB).error(), NoWriter::no_space);
  EXPECT_TRUE(store->write(digest_of("y"), 9 * kMiB));
  test::write_blocks(*first, large, 0, 10);  // what is written counts once, on the disk
  EXPECT_EQ(store->write(digest_of("x"), 11 * kMiB).error(), NoWriter::no_space);
  EXPECT_TRUE(store->write(digest_of("y"), 9 * kMiB));
}

TEST_F(FloorTest, WhatAPartialBlobOfAFormerProcessStillLacksCounts) {
  others = 60 * kMiB;
  {
    const base::InjectedFault fault("allocate", EOPNOTSUPP);
    open_beside_others();
    const std::string large = content(1, 20 * kMiB);
    auto writer = *store->write(digest_of(large), large.size());
    test::write_blocks(*writer, large, 0, 2);
    writer.reset();
    open_beside_others();
  }
  // The partial blob is the only thing to evict for it.
  auto second = store->write(digest_of("x"), 15 * kMiB);
  EXPECT_TRUE(second);
  EXPECT_EQ(store->partial_size(digest_of(content(1, 20 * kMiB))), std::nullopt);
}

TEST_F(FloorTest, EvictsWhenOthersFillTheDisk) {
  open_beside_others();
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(put_blob(i, 10 * kMiB));
  others = 55 * kMiB;
  store->keep_limits();
  EXPECT_GE(free_bytes(), kFloor);
  EXPECT_EQ(store->stats().blobs, 3U);
  EXPECT_TRUE(held(content(3, 10 * kMiB)));
  // More than the cache can give: it gives what nobody reads, and takes nothing in.
  const auto reader = store->open(digest_of(content(3, 10 * kMiB)));
  others = 99 * kMiB;
  for (int i = 0; i < 3; ++i) store->keep_limits();
  EXPECT_EQ(store->stats().blobs, 1U);
  EXPECT_EQ(store->write(digest_of("x"), 1000).error(), NoWriter::no_space);
  EXPECT_EQ(test::read_all(*reader), content(3, 10 * kMiB));
  others = 0;
  EXPECT_TRUE(put_blob(9, kMiB));
  expect_consistent();
}

TEST_F(FloorTest, IsNotMistakenForWhatTheIndexGivesBackToItself) {
  open_beside_others(60 * kMiB, 8 << 10);
  for (uint64_t i = 0; i < 500; ++i) EXPECT_TRUE(put_blob(i, 8 << 10));
  for (uint64_t i = 0; i < 10; ++i) EXPECT_TRUE(put_blob(i, kMiB));
  others = kDisk - kFloor + 9 * kMiB / 2 - disk_usage(root());
  store->keep_limits();
  EXPECT_GE(free_bytes(), kFloor);
  EXPECT_EQ(store->stats().evicted, 5U);
  EXPECT_EQ(store->stats().blobs, 505U);
  // A file takes the place of files.
  EXPECT_TRUE(put_blob(20, 2 * kMiB));
  EXPECT_GE(free_bytes(), kFloor);
  EXPECT_GE(store->stats().blobs, 503U);
  // And nothing is given up that does not help.
  others += 20 * kMiB;
  EXPECT_FALSE(put_blob(21, 5 * kMiB));
  EXPECT_GE(store->stats().blobs, 503U);
  for (uint64_t i = 0; i < 500; ++i) {
    EXPECT_TRUE(store->contains(digest_of(content(i, 8 << 10)))) << i;
  }
}

TEST_F(FloorTest, SmallBlobsTakeTheRoomOfSmallBlobs) {
  open_beside_others(60 * kMiB, 8 << 10);
  for (uint64_t i = 0; i < 500; ++i) EXPECT_TRUE(put_blob(i, 8 << 10));  // above their share
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(put_blob(i, kMiB));
  others = kDisk - kFloor - disk_usage(root());
  int stored = 0;
  for (uint64_t i = 500; i < 700; ++i) stored += put_blob(i, 8 << 10) ? 1 : 0;
  EXPECT_GE(stored, 190);
  EXPECT_GE(free_bytes() + 256 * 1024, kFloor) << "the index's few pages";
  int files = 0;
  for (uint64_t i = 0; i < 4; ++i) files += store->contains(digest_of(content(i, kMiB))) ? 1 : 0;
  EXPECT_GE(files, 3) << "but for one, for those pages";
  EXPECT_LE(store->stats().blobs, 504U + 90) << "what fits into the room of that file";
}

TEST_F(FloorTest, DoesNotEvictInVain) {
  open_beside_others();
  EXPECT_TRUE(put_blob(1, 10 * kMiB));
  others = 70 * kMiB;
  EXPECT_EQ(store->write(digest_of("x"), 40 * kMiB).error(), NoWriter::no_space);
  EXPECT_TRUE(held(content(1, 10 * kMiB)));
}

TEST_F(FloorTest, IsKeptWithoutBeingAsked) {
  open_beside_others();
  EXPECT_TRUE(put_blob(1, 20 * kMiB));
  others = 80 * kMiB;
  store_looks = true;
  while (store->stats().blobs > 0) std::this_thread::yield();
}

TEST_F(FloorTest, AllButTheIndexIsWithinTheBudget) {
  open(3 * kMiB);
  std::vector<std::unique_ptr<BlobWriter>> writers;
  for (uint64_t i = 0; i < 300; ++i) {  // small files round up, maps count
    const std::string bytes = content(i, 5000);
    auto writer = store->write(digest_of(bytes), bytes.size());
    ASSERT_TRUE(writer) << i;
    test::write_blocks(**writer, bytes, 0, 1);
    if (i % 3 == 0) {
      (*writer)->commit();
    } else if (i % 3 == 1) {
      writer->reset();  // a partial blob and its map
    } else if (writers.size() < 20) {
      writers.push_back(std::move(*writer));
    }
    const StoreStats stats = store->stats();
    const uint64_t known =
        stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes + stats.index_bytes;
    EXPECT_LE(known, stats.capacity);
    EXPECT_LE(disk_usage(layout.blobs()) + disk_usage(layout.incoming()), known);
  }
}

// A real file system of its own, small enough to fill.
class SmallDiskTest : public test::StoreTest {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(root());
    if (::mount("tmpfs", root().c_str(), "tmpfs", 0, "size=32m") != 0) {
      GTEST_SKIP() << "only root can mount";
    }
    mounted_ = true;
  }
  void TearDown() override {
    StoreTest::TearDown();
    if (mounted_) ::umount2(root().c_str(), MNT_DETACH);
  }
  void open_on_disk(uint64_t min_free) {
    open(BlobStoreOptions{.root = root(), .capacity = 1000 * kMiB, .min_free = min_free});
  }
  void fill_disk() const {
    std::ofstream out(root() / "others", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (out.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
    }
    std::ofstream rest(root() / "rest", std::ios::binary);
    while (rest.put('x').flush()) {
    }
  }

 private:
  bool mounted_ = false;
};

TEST_F(SmallDiskTest, AFullDiskMakesRoomByItself) {
  open_on_disk(0);
  for (uint64_t i = 0; i < 20; ++i) {
    const std::string bytes = content(i, 4 * kMiB);
    EXPECT_NE(put(*store, digest_of(bytes), bytes), nullptr) << i;
  }
  EXPECT_GT(store->stats().evicted, 12U);
  EXPECT_TRUE(held(content(19, 4 * kMiB)));
  EXPECT_EQ(store->write(digest_of("x"), 40 * kMiB).error(), NoWriter::no_space);
  EXPECT_TRUE(held(content(19, 4 * kMiB))) << "nothing is evicted in vain";
  expect_consistent();
  open_on_disk(0);
  EXPECT_TRUE(held(content(19, 4 * kMiB)));
}

TEST_F(SmallDiskTest, WhatHasAWriterIsNeverStopped) {
  open_on_disk(0);
  const std::string bytes = content(1, 8 * kMiB);
  auto writer = *store->write(digest_of(bytes), bytes.size());
  put(*store, digest_of("x"), "x");
  fill_disk();
  EXPECT_NO_THROW(test::write_blocks(*writer, bytes, 0, 8));
  std::filesystem::remove(root() / "rest");
  std::filesystem::remove(root() / "others");
  EXPECT_EQ(test::read_all(*writer->commit()), bytes);
}

TEST_F(SmallDiskTest, AFullDiskStopsNoEvictionAndNoHit) {
  open_on_disk(0);
  for (uint64_t i = 0; i < 3; ++i) {
    put(*store, digest_of(content(i, 4 * kMiB)), content(i, 4 * kMiB));
  }
  fill_disk();
  EXPECT_TRUE(held(content(2, 4 * kMiB)));
  EXPECT_NE(put(*store, digest_of(content(3, 4 * kMiB)), content(3, 4 * kMiB)), nullptr);
  EXPECT_TRUE(store->remove(digest_of(content(2, 4 * kMiB))));
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(content(2, 4 * kMiB)))));
  open_on_disk(0);
  EXPECT_TRUE(held(content(3, 4 * kMiB)));
  expect_consistent();
}

TEST_F(SmallDiskTest, AFloodLeavesTheFloorAlone) {
  constexpr int kThreads = 8;
  constexpr uint64_t kMinFree = 8 * kMiB;
  open_on_disk(kMinFree);
  std::atomic<int> below = 0;
  std::atomic<int> failed = 0;
  std::atomic<int> stored = 0;
  std::barrier phase(kThreads);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t round = 0; round < 6; ++round) {
        const std::string bytes = content(100 * t + round, 2 * kMiB + 4096 * t);
        phase.arrive_and_wait();
        auto writer = store->write(digest_of(bytes), bytes.size());
        if (!writer) continue;
        try {
          test::write_blocks(**writer, bytes, 0, 3);
          // The index is no file that room is reserved for; its growth is all that may be missing.
          if (free_bytes(root()) + 256 * 1024 < kMinFree) ++below;
          (*writer)->commit();
          ++stored;
        } catch (const base::IoError&) {
          ++failed;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(below, 0);
  EXPECT_EQ(failed, 0);
  EXPECT_GE(stored, 30) << "evicting, there is room for most";
  expect_consistent();
}

}  // namespace
}  // namespace cache

#include "cache/blob_writer.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/fault_point.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;
using test::write_blocks;

class BlobWriterTest : public test::StoreTest {
 protected:
  const std::string bytes_ = content(1, 5 * kMiB + 100);
  const oci::Digest digest_ = digest_of(bytes_);
};

// While it lives no file of this process can grow past the limit: every write beyond it fails, as
// on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : former_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &former_);
    const rlimit limit{bytes, former_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &former_);
    ::signal(SIGXFSZ, former_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit former_{};
  sighandler_t former_handler_;
};

TEST_F(BlobWriterTest, TakesBlocksInAnyOrder) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  EXPECT_EQ(writer->blocks(), 6U);
  write_blocks(*writer, bytes_, 3, 6);
  EXPECT_FALSE(writer->has(0));
  EXPECT_TRUE(writer->has(5));
  write_blocks(*writer, bytes_, 0, 3);
  const auto blob = writer->commit();
  EXPECT_EQ(test::read_all(*blob), bytes_);
  EXPECT_EQ(writer->fd(), blob->fd());
  writer.reset();
  expect_consistent();
}

TEST_F(BlobWriterTest, NothingIsHeldBeforeTheCommit) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  write_blocks(*writer, bytes_, 0, 6);
  EXPECT_FALSE(store->contains(digest_));
  EXPECT_EQ(store->open(digest_), nullptr);
  EXPECT_EQ(store->hot(digest_), nullptr);
  EXPECT_EQ(store->stats().reserved_bytes, partial_on_disk(bytes_.size()));
  EXPECT_EQ(store->stats().blob_bytes, 0U);
}

TEST_F(BlobWriterTest, ResumesWhatWasAbandoned) {
  for (const bool restart : {false, true}) {
    open();
    auto writer = *store->write(digest_, bytes_.size());
    write_blocks(*writer, bytes_, 1, 3);
    EXPECT_EQ(store->partial_size(digest_), std::nullopt) << "it is being written";
    writer.reset();
    expect_consistent();
    if (restart) open();
    EXPECT_FALSE(store->contains(digest_));
    EXPECT_EQ(store->partial_size(digest_), bytes_.size());
    EXPECT_EQ(store->stats().reserved_bytes, partial_on_disk(bytes_.size()));

    writer = *store->write(digest_, bytes_.size());
    for (uint64_t block = 0; block < 6; ++block) {
      EXPECT_EQ(writer->has(block), block == 1 || block == 2) << block;
    }
    write_blocks(*writer, bytes_, 0, 1);
    write_blocks(*writer, bytes_, 3, 6);
    EXPECT_EQ(test::read_all(*writer->commit()), bytes_);
    writer.reset();
    expect_consistent();
    store->remove(digest_);
  }
}

TEST_F(BlobWriterTest, KnowsWhetherAllItsBlocksAreOfThisBoot) {
  const auto open_under = [&](const std::string& boot) {
    open({.root = root(), .capacity = 100 * kMiB, .boot = boot});
  };
  const auto write_one = [&](uint64_t block) {
    auto writer = *store->write(digest_, bytes_.size());
    const bool of_this_boot = writer->of_this_boot();
    write_blocks(*writer, bytes_, block, block + 1);
    return of_this_boot;
  };
  open_under("first");
  EXPECT_TRUE(write_one(0)) << "none is there";
  EXPECT_TRUE(write_one(1)) << "of this process";
  open_under("first");
  EXPECT_TRUE(write_one(2)) << "of another process";
  open_under("second");
  EXPECT_FALSE(write_one(3));
  EXPECT_FALSE(write_one(3));
  open_under("second");
  EXPECT_FALSE(write_one(4)) << "some are of the first boot, whoever has added to them";
}

TEST_F(BlobWriterTest, WhatWasAbandonedIsItsAccountsAndCanBeRemoved) {
  for (const bool restart : {false, true}) {
    open();
    auto writer = *store->write(digest_, bytes_.size(), "upstream");
    write_blocks(*writer, bytes_, 0, 2);
    EXPECT_FALSE(store->remove(digest_)) << "it is being written";
    writer.reset();
    if (restart) open();
    EXPECT_EQ(store->blobs_of("upstream"), std::vector<oci::Digest>{digest_}) << restart;
    EXPECT_EQ(store->stats().accounts["upstream"].bytes, partial_on_disk(bytes_.size()));
    EXPECT_TRUE(store->remove(digest_));
    EXPECT_EQ(store->partial_size(digest_), std::nullopt);
    EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
    EXPECT_EQ(store->stats().accounts["upstream"].bytes, 0U);
    expect_consistent();
  }
}

TEST_F(BlobWriterTest, AWriterWithoutAWholeBlockLeavesNothing) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  writer->write(0, "some bytes");
  writer.reset();
  EXPECT_EQ(store->partial_size(digest_), std::nullopt);
  EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
}

TEST_F(BlobWriterTest, AnotherSizeStartsAnew) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  write_blocks(*writer, bytes_, 0, 2);
  writer.reset();
  writer = *store->write(digest_, bytes_.size() - 1);
  for (uint64_t block = 0; block < 6; ++block) EXPECT_FALSE(writer->has(block));
  EXPECT_EQ(std::filesystem::file_size(layout.partial(digest_)), bytes_.size() - 1);
  writer.reset();
  expect_consistent();
}

TEST_F(BlobWriterTest, DiscardFreesItsSpace) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  write_blocks(*writer, bytes_, 0, 6);
  writer->discard();
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
  writer = *store->write(digest_, bytes_.size());
  EXPECT_FALSE(writer->has(0));
}

TEST_F(BlobWriterTest, WhatIsDiscardedTakesItsRoomWhileItIsRead) {
  for (const bool by_failure : {false, true}) {
    open();
    auto writer = *store->write(digest_, bytes_.size());
    write_blocks(*writer, bytes_, 0, 6);
    if (by_failure) {
      const base::InjectedFault fault("fsync", EIO);
      EXPECT_THROW(writer->commit(), base::IoError);
    } else {
      writer->discard();
    }
    std::optional<Space::Reservation> space = writer->take_space();
    writer.reset();
    EXPECT_EQ(store->stats().reserved_bytes, 0U);
    EXPECT_EQ(store->stats().unlinked_bytes, Space::on_disk(bytes_.size()));
    space.reset();
    expect_consistent();
  }
}

TEST_F(BlobWriterTest, AnIdlePartialBlobMakesRoomWhenItIsTheOldest) {
  open(7 * kMiB);
  auto writer = *store->write(digest_, bytes_.size());
  write_blocks(*writer, bytes_, 0, 2);
  writer.reset();
  put(*store, digest_of(content(2, kMiB)), content(2, kMiB));
  EXPECT_EQ(store->partial_size(digest_), bytes_.size());
  put(*store, digest_of(content(3, kMiB)), content(3, kMiB));
  EXPECT_EQ(store->partial_size(digest_), std::nullopt);
  EXPECT_TRUE(held(content(2, kMiB)));
  expect_consistent();
}

TEST_F(BlobWriterTest, WhatIsBeingWrittenIsNeverEvicted) {
  open(7 * kMiB);
  auto writer = *store->write(digest_, bytes_.size());
  EXPECT_FALSE(store->write(digest_of("x"), 2 * kMiB));
  write_blocks(*writer, bytes_, 0, 6);
  EXPECT_EQ(test::read_all(*writer->commit()), bytes_);
}

TEST_F(BlobWriterTest, AFullDiskFailsTheWrite) {
  open();
  auto writer = *store->write(digest_, bytes_.size());
  write_blocks(*writer, bytes_, 0, 1);
  {
    const FileSizeLimit limit(2 * kMiB);
    EXPECT_THROW(write_blocks(*writer, bytes_, 1, 6), base::IoError);
  }
  writer->discard();
  writer.reset();
  expect_consistent();
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
}

TEST_F(BlobWriterTest, AFullDiskFailsTheStart) {
  open();
  {
    const FileSizeLimit limit(2 * kMiB);
    EXPECT_EQ(store->write(digest_, bytes_.size()).error(), NoWriter::storage_failed);
  }
  expect_consistent();
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
  EXPECT_NE(put(*store, digest_, bytes_), nullptr);
}

TEST_F(BlobWriterTest, AFullDiskFailsTheCommit) {
  open();
  put(*store, digest_of(content(2, 100)), content(2, 100));
  // At 10 bytes the map cannot be saved; at a page the index cannot be written, and the file is in
  // place already.
  for (const rlim_t limit_bytes : {rlim_t{10}, rlim_t{4096}}) {
    auto writer = *store->write(digest_, bytes_.size());
    write_blocks(*writer, bytes_, 0, 6);
    {
      const FileSizeLimit limit(limit_bytes);
      EXPECT_THROW(writer->commit(), base::IoError) << limit_bytes;
    }
    writer.reset();
    EXPECT_FALSE(store->contains(digest_));
    EXPECT_EQ(store->partial_size(digest_), std::nullopt);
    expect_consistent();
  }
  EXPECT_NE(put(*store, digest_, bytes_), nullptr);
  open();
  EXPECT_TRUE(held(bytes_));
  EXPECT_TRUE(held(content(2, 100)));
  expect_consistent();
}

TEST_F(BlobWriterTest, AFullDiskFailsTheEvictionAndLosesNothing) {
  open(2 * kMiB);
  for (uint64_t i = 2; i < 4; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  {
    const FileSizeLimit limit(4096);
    EXPECT_EQ(store->write(digest_of("x"), kMiB).error(), NoWriter::storage_failed);
  }
  EXPECT_TRUE(held(content(2, kMiB)));
  EXPECT_TRUE(held(content(3, kMiB)));
  expect_consistent();
  put(*store, digest_of(content(4, kMiB)), content(4, kMiB));
  EXPECT_FALSE(store->contains(digest_of(content(2, kMiB))));
  expect_consistent();
}

TEST_F(BlobWriterTest, TwoWritersOfOneDigestAreABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the store has a thread
  open();
  const auto writer = *store->write(digest_, bytes_.size());
  EXPECT_DEATH(static_cast<void>(store->write(digest_, bytes_.size())), "two writers");
}

}  // namespace
}  // namespace cache

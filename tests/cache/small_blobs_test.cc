// Blobs that are kept in the index.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "base/fault_point.h"
#include "cache/index.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;

class SmallBlobsTest : public test::StoreTest {
 protected:
  static constexpr uint64_t kLimit = 8 << 10;

  void open_store(uint64_t capacity = 100 * kMiB, uint64_t limit = kLimit) {
    open(BlobStoreOptions{.root = root(), .capacity = capacity, .inline_limit = limit});
  }
  bool no_files() const {
    return std::filesystem::is_empty(layout.blobs()) &&
           std::filesystem::is_empty(layout.incoming());
  }

  const std::string bytes_ = content(1, 5000);
};

TEST_F(SmallBlobsTest, AreHitsWithoutAFile) {
  open_store();
  {
    auto writer = *store->write(digest_of(bytes_), bytes_.size());
    test::write_blocks(*writer, bytes_, 0, 1);
    std::string gathered(bytes_.size(), '\0');
    base::read_at(writer->fd(), 0, gathered.data(), gathered.size());
    EXPECT_EQ(gathered, bytes_) << "readers of a fill read its descriptor";
    const auto blob = writer->commit();
    EXPECT_EQ(blob->fd(), -1);
    EXPECT_EQ(blob->bytes(), bytes_);
    const base::UniqueFd copy = blob->duplicate();
    base::read_at(copy.get(), 0, gathered.data(), gathered.size());
    EXPECT_EQ(gathered, bytes_);
  }
  EXPECT_TRUE(no_files());
  EXPECT_EQ(store->stats().blob_bytes, Index::on_disk(bytes_.size()));
  EXPECT_NE(store->hot(digest_of(bytes_)), nullptr);
  open_store();
  EXPECT_EQ(store->hot(digest_of(bytes_)), nullptr);
  EXPECT_EQ(store->size_of(digest_of(bytes_)), bytes_.size());
  EXPECT_TRUE(held(bytes_));
  EXPECT_EQ(store->stats().blob_bytes, Index::on_disk(bytes_.size()));
}

TEST_F(SmallBlobsTest, TheLimitIsTheLargestOfThem) {
  open_store();
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, kLimit, kLimit + 1}) {
    const std::string bytes = content(2, size);
    const auto blob = put(*store, digest_of(bytes), bytes);
    EXPECT_EQ(blob->bytes().has_value(), size <= kLimit) << size;
    EXPECT_EQ(test::read_all(*blob), bytes);
  }
}

TEST_F(SmallBlobsTest, AnotherLimitChangesNothingThatIsHeld) {
  open_store();
  put(*store, digest_of(bytes_), bytes_);
  open_store(100 * kMiB, 0);
  EXPECT_TRUE(held(bytes_));
  const std::string other = content(2, 100);
  EXPECT_EQ(put(*store, digest_of(other), other)->bytes(), std::nullopt);
  open_store();
  EXPECT_TRUE(held(other));
  EXPECT_GE(store->open(digest_of(other))->fd(), 0);
  // Stored again, each goes where the limit says now.
  EXPECT_NE(put(*store, digest_of(other), other)->bytes(), std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(other))));
  open_store();
  EXPECT_TRUE(held(other));
  EXPECT_TRUE(held(bytes_));
}

TEST_F(SmallBlobsTest, APartialBlobOfAFormerLimitIsReplaced) {
  open_store(100 * kMiB, 0);
  auto writer = *store->write(digest_of(bytes_), bytes_.size());
  test::write_blocks(*writer, bytes_, 0, 1);
  writer.reset();
  EXPECT_EQ(store->partial_size(digest_of(bytes_)), bytes_.size());
  open_store();
  put(*store, digest_of(bytes_), bytes_);
  EXPECT_TRUE(no_files());
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
}

TEST_F(SmallBlobsTest, AbandonedOrDiscardedTheyLeaveNothing) {
  open_store();
  for (const bool discard : {false, true}) {
    auto writer = *store->write(digest_of(bytes_), bytes_.size());
    EXPECT_EQ(store->stats().reserved_bytes, Index::on_disk(bytes_.size()));
    test::write_blocks(*writer, bytes_, 0, 1);
    if (discard) writer->discard();
    writer.reset();
    EXPECT_EQ(store->stats().reserved_bytes, 0U);
    EXPECT_EQ(store->partial_size(digest_of(bytes_)), std::nullopt);
    EXPECT_FALSE(store->contains(digest_of(bytes_)));
  }
  EXPECT_TRUE(no_files());
}

TEST_F(SmallBlobsTest, ARemovedOneIsReadOn) {
  open_store();
  const auto reader = put(*store, digest_of(bytes_), bytes_);
  EXPECT_TRUE(store->remove(digest_of(bytes_)));
  EXPECT_EQ(test::read_all(*reader), bytes_);
  open_store();
  EXPECT_FALSE(store->contains(digest_of(bytes_)));
}

TEST_F(SmallBlobsTest, AFailedCommitHoldsNothing) {
  open_store();
  {
    const base::InjectedFault fault("index.commit", ENOSPC);
    auto writer = *store->write(digest_of(bytes_), bytes_.size());
    test::write_blocks(*writer, bytes_, 0, 1);
    EXPECT_THROW(writer->commit(), base::IoError);
  }
  EXPECT_FALSE(store->contains(digest_of(bytes_)));
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
  EXPECT_NE(put(*store, digest_of(bytes_), bytes_), nullptr);
}

TEST_F(SmallBlobsTest, WithoutDescriptorsThereIsNoWriter) {
  open_store();
  const base::InjectedFault fault("create", EMFILE);
  EXPECT_EQ(store->write(digest_of(bytes_), bytes_.size()).error(), NoWriter::storage_failed);
  EXPECT_EQ(store->stats().reserved_bytes, 0U);
}

TEST_F(SmallBlobsTest, OtherBytesThanTheDigestSaysAreDropped) {
  open_store();
  put(*store, digest_of(bytes_), bytes_);
  store.reset();
  {
    auto index = Index::open(layout.index());
    std::string spoilt = bytes_;
    spoilt[77] = static_cast<char>(spoilt[77] ^ 1);
    index->index->apply({.content = {{digest_of(bytes_), spoilt}}});
  }
  open_store();
  EXPECT_EQ(store->open(digest_of(bytes_)), nullptr);
  EXPECT_FALSE(store->contains(digest_of(bytes_)));
  EXPECT_EQ(store->stats().unlinked_bytes, 0U);
}

TEST_F(SmallBlobsTest, WhatTheyLeaveBehindInTheIndexCounts) {
  constexpr uint64_t kCapacity = 12 * kMiB;
  open_store(kCapacity);
  const uint64_t each = Index::on_disk(kLimit);
  for (uint64_t i = 0; i < 900; ++i) {
    put(*store, digest_of(content(i, kLimit)), content(i, kLimit));
  }
  EXPECT_EQ(store->stats().blob_bytes, 900 * each);
  for (uint64_t i = 0; i < 900; ++i) store->remove(digest_of(content(i, kLimit)));
  EXPECT_GT(store->stats().index_bytes, 8 * kMiB);
  EXPECT_FALSE(store->write(digest_of("x"), 8 * kMiB)) << "the index's file is no smaller";

  // Others use it again, and large ones fit as before.
  for (uint64_t i = 0; i < 900; ++i) {
    put(*store, digest_of(content(i, kLimit)), content(i, kLimit));
  }
  EXPECT_GT(store->stats().blobs, 800U);
  const uint64_t file = std::filesystem::file_size(layout.index() / "data.mdb");
  const StoreStats stats = store->stats();
  EXPECT_LE(stats.blob_bytes + stats.index_bytes, stats.capacity);
  EXPECT_LE(file, kCapacity + 2 * kMiB);
}

TEST_F(SmallBlobsTest, AreNotGivenUpForAFileInVain) {
  open_store(12 * kMiB);
  for (uint64_t i = 0; i < 850; ++i) {
    put(*store, digest_of(content(i, kLimit)), content(i, kLimit));
  }
  // Beside what the index's file has there is less than 4 MiB, whatever goes of its content.
  EXPECT_FALSE(store->write(digest_of("x"), 4 * kMiB));
  EXPECT_EQ(store->stats().evicted, 0U);
  // They go for files no longer than that helps, which is for the 1 MiB that is beside the
  // capacity.
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_NE(put(*store, digest_of(content(i, kMiB)), content(i, kMiB)), nullptr);
    const StoreStats stats = store->stats();
    EXPECT_LE(stats.blob_bytes + stats.index_bytes, stats.capacity);
  }
  EXPECT_GT(store->stats().blobs, 750U);
}

TEST_F(SmallBlobsTest, TakeTheRoomThatTheIndexHasAndNoOther) {
  open_store(12 * kMiB);
  for (uint64_t i = 0; i < 600; ++i) {
    put(*store, digest_of(content(i, kLimit)), content(i, kLimit));
  }
  for (uint64_t i = 0; i < 300; ++i) store->remove(digest_of(content(i, kLimit)));
  // Files take the rest, but for what the map of their writer took.
  const auto left = [this] {
    const StoreStats stats = store->stats();
    return stats.capacity - stats.blob_bytes - stats.index_bytes - kMap;
  };
  while (left() >= 4096) {
    const std::string file = content(left(), std::min(left() / 4096 * 4096, kMiB));
    EXPECT_NE(put(*store, digest_of(file), file), nullptr);
  }
  for (uint64_t i = 0; i < 150; ++i) {
    EXPECT_NE(put(*store, digest_of(content(i, kLimit)), content(i, kLimit)), nullptr);
  }
  EXPECT_EQ(store->stats().evicted, 0U);
}

TEST_F(SmallBlobsTest, LargeOnesEvictThem) {
  open_store(4 * kMiB);
  for (uint64_t i = 0; i < 100; ++i) put(*store, digest_of(content(i, 4000)), content(i, 4000));
  EXPECT_EQ(store->stats().blobs, 100U);
  const std::string large = content(100, 4 * kMiB - (256 << 10));
  EXPECT_NE(put(*store, digest_of(large), large), nullptr);
  EXPECT_LT(store->stats().blobs, 70U);
  EXPECT_TRUE(held(content(99, 4000)));
}

}  // namespace
}  // namespace cache

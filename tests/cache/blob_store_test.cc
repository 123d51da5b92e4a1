#include "cache/blob_store.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;
using BlobStoreTest = test::StoreTest;

TEST_F(BlobStoreTest, ACommittedBlobIsAHitAndSurvivesARestart) {
  open();
  const std::string bytes = content(1, 3 * kMiB + 17);
  EXPECT_EQ(store->open(digest_of(bytes)), nullptr);
  const auto committed = put(*store, digest_of(bytes), bytes);
  EXPECT_EQ(test::read_all(*committed), bytes);
  EXPECT_TRUE(store->contains(digest_of(bytes)));
  EXPECT_EQ(store->size_of(digest_of(bytes)), bytes.size());

  open();
  EXPECT_TRUE(store->contains(digest_of(bytes)));
  EXPECT_EQ(store->hot(digest_of(bytes)), nullptr);
  const auto blob = store->open(digest_of(bytes));
  ASSERT_NE(blob, nullptr);
  EXPECT_EQ(blob->size(), bytes.size());
  EXPECT_EQ(blob->stored_at(), committed->stored_at());
  EXPECT_EQ(test::read_all(*blob), bytes);
  EXPECT_EQ(store->hot(digest_of(bytes)), blob);
  expect_consistent();
}

TEST_F(BlobStoreTest, ABlobMayBeEmpty) {
  open();
  auto writer = *store->write(digest_of(""), 0);
  EXPECT_EQ(writer->blocks(), 0U);
  EXPECT_EQ(writer->commit()->size(), 0U);
  writer.reset();
  open();
  EXPECT_TRUE(held(""));
  expect_consistent();
}

TEST_F(BlobStoreTest, KnowsBothAlgorithms) {
  open();
  const std::string bytes = content(1, 5000);
  const oci::Digest sha512 = oci::Digest::of(oci::Algorithm::sha512, bytes);
  put(*store, sha512, bytes);
  EXPECT_FALSE(store->contains(digest_of(bytes)));
  open();
  ASSERT_NE(store->open(sha512), nullptr);
  expect_consistent();
}

TEST_F(BlobStoreTest, EvictsTheLeastRecentlyUsed) {
  open(3 * kMiB);
  for (uint64_t i = 0; i < 3; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  EXPECT_TRUE(held(content(0, kMiB)));  // a use
  put(*store, digest_of(content(3, kMiB)), content(3, kMiB));
  EXPECT_TRUE(held(content(0, kMiB)));
  EXPECT_FALSE(held(content(1, kMiB)));
  EXPECT_TRUE(held(content(2, kMiB)));
  EXPECT_TRUE(held(content(3, kMiB)));
  EXPECT_EQ(store->stats().evicted, 1U);
  expect_consistent();
}

TEST_F(BlobStoreTest, AHotHitIsAUseToo) {
  open(2 * kMiB);
  for (uint64_t i = 0; i < 2; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  EXPECT_NE(store->hot(digest_of(content(0, kMiB))), nullptr);
  put(*store, digest_of(content(2, kMiB)), content(2, kMiB));
  EXPECT_TRUE(store->contains(digest_of(content(0, kMiB))));
  EXPECT_FALSE(store->contains(digest_of(content(1, kMiB))));
}

TEST_F(BlobStoreTest, TheOrderOfUseSurvivesARestart) {
  open(3 * kMiB);
  for (uint64_t i = 0; i < 3; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  EXPECT_TRUE(held(content(0, kMiB)));
  open(3 * kMiB);
  for (uint64_t i = 3; i < 5; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  EXPECT_TRUE(store->contains(digest_of(content(0, kMiB))));
  EXPECT_FALSE(store->contains(digest_of(content(1, kMiB))));
  EXPECT_FALSE(store->contains(digest_of(content(2, kMiB))));
}

TEST_F(BlobStoreTest, NeverEvictsWhatIsBeingRead) {
  for (const size_t hot_blobs : {size_t{0}, size_t{1}, size_t{4096}}) {
    open(2 * kMiB, hot_blobs);
    const std::string a = content(100 + hot_blobs, kMiB);
    const std::string b = content(200 + hot_blobs, kMiB);
    const std::string c = content(300 + hot_blobs, kMiB);
    auto reader = put(*store, digest_of(a), a);
    put(*store, digest_of(b), b);
    put(*store, digest_of(c), c);  // a is older, but in use
    EXPECT_TRUE(store->contains(digest_of(a))) << hot_blobs;
    EXPECT_FALSE(store->contains(digest_of(b))) << hot_blobs;
    EXPECT_EQ(store->hot(digest_of(a)), reader) << "open, so hot whatever the table's size";
    reader.reset();
    store->open(digest_of(c));
    put(*store, digest_of(b), b);
    EXPECT_FALSE(store->contains(digest_of(a))) << "free to go once nobody reads it";
    expect_consistent();
  }
}

TEST_F(BlobStoreTest, NoSpaceBesideWhatIsInUseEvictsNothing) {
  open(3 * kMiB);
  const auto reader = put(*store, digest_of(content(0, 2 * kMiB)), content(0, 2 * kMiB));
  put(*store, digest_of(content(1, kMiB)), content(1, kMiB));
  const auto refused = store->write(digest_of("x"), 2 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), NoWriter::no_space);
  EXPECT_FALSE(store->write(digest_of("x"), UINT64_MAX));
  EXPECT_TRUE(held(content(1, kMiB)));
  EXPECT_EQ(store->stats().evicted, 0U);
  expect_consistent();
}

TEST_F(BlobStoreTest, ARemovedBlobTakesSpaceUntilItsLastReaderIsGone) {
  open(2 * kMiB);
  const std::string bytes = content(1, kMiB);
  auto reader = put(*store, digest_of(bytes), bytes);
  EXPECT_TRUE(store->remove(digest_of(bytes)));
  EXPECT_FALSE(store->remove(digest_of(bytes)));
  EXPECT_EQ(store->open(digest_of(bytes)), nullptr);
  EXPECT_EQ(test::read_all(*reader), bytes);
  EXPECT_EQ(store->stats().blob_bytes, 0U);
  EXPECT_EQ(store->stats().unlinked_bytes, kMiB);
  EXPECT_FALSE(store->write(digest_of("x"), 2 * kMiB));
  reader.reset();
  EXPECT_EQ(store->stats().unlinked_bytes, 0U);
  EXPECT_TRUE(store->write(digest_of("x"), 2 * kMiB));
  open();
  expect_consistent();
}

TEST_F(BlobStoreTest, ABlobMayOutliveTheStore) {
  open();
  const std::string bytes = content(1, kMiB);
  const auto reader = put(*store, digest_of(bytes), bytes);
  store.reset();
  EXPECT_EQ(test::read_all(*reader), bytes);
}

TEST_F(BlobStoreTest, TheHotTableIsBounded) {
  open(100 * kMiB, 2);
  for (uint64_t i = 0; i < 3; ++i) put(*store, digest_of(content(i, 10)), content(i, 10));
  EXPECT_EQ(store->hot(digest_of(content(0, 10))), nullptr);
  EXPECT_NE(store->hot(digest_of(content(1, 10))), nullptr);
  EXPECT_NE(store->hot(digest_of(content(2, 10))), nullptr);
  store->open(digest_of(content(0, 10)));  // puts out 1, the least recently used of the two
  EXPECT_EQ(store->hot(digest_of(content(1, 10))), nullptr);
  EXPECT_NE(store->hot(digest_of(content(2, 10))), nullptr);
}

TEST_F(BlobStoreTest, AFileThatIsGoneOrOfAnotherSizeIsDropped) {
  open();
  for (uint64_t i = 0; i < 2; ++i) put(*store, digest_of(content(i, 9000)), content(i, 9000));
  open();
  const oci::Digest gone = digest_of(content(0, 9000));
  const oci::Digest cut = digest_of(content(1, 9000));
  std::filesystem::remove(layout.blob(gone));
  std::filesystem::resize_file(layout.blob(cut), 8999);
  EXPECT_EQ(store->open(gone), nullptr);
  EXPECT_EQ(store->open(cut), nullptr);
  EXPECT_FALSE(store->contains(gone));
  EXPECT_FALSE(store->contains(cut));
  expect_consistent();
  put(*store, cut, content(1, 9000));
  open();
  EXPECT_FALSE(store->contains(gone));
  EXPECT_TRUE(held(content(1, 9000)));
  expect_consistent();
}

TEST_F(BlobStoreTest, ABlobThatIsWrittenAgainIsReplaced) {
  open();
  const std::string bytes = content(1, kMiB);
  auto reader = put(*store, digest_of(bytes), bytes);
  const auto again = put(*store, digest_of(bytes), bytes);
  EXPECT_NE(again, reader);
  EXPECT_EQ(test::read_all(*reader), bytes);
  EXPECT_EQ(test::read_all(*again), bytes);
  reader.reset();
  expect_consistent();
}

TEST_F(BlobStoreTest, OneStorePerDirectory) {
  open();
  try {
    const BlobStore second({.root = root(), .capacity = kMiB});
    FAIL() << "two stores on one directory";
  } catch (const base::IoError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("in use by another process"));
  }
  store.reset();
  EXPECT_NO_THROW(open());
}

TEST_F(BlobStoreTest, ASmallerCapacityEvictsAtStart) {
  open(4 * kMiB);
  for (uint64_t i = 0; i < 4; ++i) put(*store, digest_of(content(i, kMiB)), content(i, kMiB));
  open(2 * kMiB);
  while (used() > store->stats().capacity) std::this_thread::yield();
  EXPECT_FALSE(held(content(0, kMiB)));
  EXPECT_FALSE(held(content(1, kMiB)));
  EXPECT_TRUE(held(content(2, kMiB)));
  EXPECT_TRUE(held(content(3, kMiB)));
  expect_consistent();
}

}  // namespace
}  // namespace cache

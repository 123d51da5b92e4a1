// What a start makes of a directory in any state.
#include "cache/recovery.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "base/error.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;
using test::write_blocks;

class RecoveryTest : public test::StoreTest {
 protected:
  // A store that was closed with a blob in it and a partial blob with its first block.
  void SetUp() override {
    open();
    put(*store, digest_of(blob_), blob_);
    auto writer = *store->write(digest_of(partial_), partial_.size());
    write_blocks(*writer, partial_, 0, 1);
    writer.reset();
    store.reset();
  }
  void expect_swept() {
    open();
    EXPECT_EQ(store->partial_size(digest_of(partial_)), std::nullopt);
    EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
    EXPECT_TRUE(held(blob_));
    expect_consistent();
  }

  const std::string blob_ = content(1, 2 * kMiB);
  const std::string partial_ = content(2, 3 * kMiB);
};

TEST_F(RecoveryTest, SweepsAPartialBlobWithoutAMap) {
  std::filesystem::remove(layout.partial_map(digest_of(partial_)));
  expect_swept();
}

TEST_F(RecoveryTest, SweepsAMapWithoutAPartialBlob) {
  std::filesystem::remove(layout.partial(digest_of(partial_)));
  expect_swept();
}

TEST_F(RecoveryTest, SweepsAPartialBlobOfAnotherLength) {
  std::filesystem::resize_file(layout.partial(digest_of(partial_)), partial_.size() - 1);
  expect_swept();
}

TEST_F(RecoveryTest, SweepsADamagedMap) {
  std::string map = read_file(layout.partial_map(digest_of(partial_)));
  map.back() = static_cast<char>(map.back() ^ 1);
  write_file(layout.partial_map(digest_of(partial_)), map);
  expect_swept();
}

TEST_F(RecoveryTest, SweepsWhatIsNotOurs) {
  write_file(layout.incoming() / "stray", "x");
  write_file(layout.new_partial_map(digest_of(partial_)), "x");
  write_file(layout.incoming() / "directory" / "file", "x");
  open();
  EXPECT_EQ(store->partial_size(digest_of(partial_)), partial_.size());
  EXPECT_TRUE(held(blob_));
  expect_consistent();
}

TEST_F(RecoveryTest, APartialBlobOfWhatIsHeldIsSwept) {
  for (const auto& path :
       {layout.partial(digest_of(blob_)), layout.partial_map(digest_of(blob_))}) {
    write_file(path, "left over");
  }
  open();
  EXPECT_TRUE(held(blob_));
  EXPECT_EQ(store->partial_size(digest_of(blob_)), std::nullopt);
  expect_consistent();
}

TEST_F(RecoveryTest, AFilePutInPlaceAndNotIndexedIsFoundThroughItsMap) {
  std::filesystem::create_directories(layout.blob(digest_of(partial_)).parent_path());
  write_file(layout.blob(digest_of(partial_)), partial_);
  std::filesystem::remove(layout.partial(digest_of(partial_)));
  open();
  EXPECT_TRUE(held(partial_));
  expect_consistent();
  open();
  EXPECT_TRUE(held(partial_));
}

TEST_F(RecoveryTest, ReadsTheIndexAndNotTheTree) {
  // A file the index does not know and no map leads to: a start that read the tree would find it.
  const std::string stray = content(9, 100);
  write_file(layout.blob(digest_of(stray)), stray);
  open();
  EXPECT_FALSE(store->contains(digest_of(stray)));
  EXPECT_TRUE(held(blob_));
}

TEST_F(RecoveryTest, RebuildsAnIndexThatCannotBeRead) {
  const auto data = layout.index() / "data.mdb";
  const std::string good = read_file(data);
  const std::vector<std::pair<const char*, std::string>> damages = {
      {"garbage", content(5, good.size())},
      {"empty", ""},
      {"cut", good.substr(0, 2 * 4096)},
  };
  for (const auto& [what, damaged] : damages) {
    store.reset();
    write_file(data, damaged);
    write_file(layout.blobs() / "sha256" / "notes.txt", "not a blob");
    open();
    wait_complete();
    EXPECT_EQ(store->stats().blobs, 1U) << what;
    EXPECT_TRUE(held(blob_)) << what;
    EXPECT_EQ(store->partial_size(digest_of(partial_)), partial_.size()) << what;
    std::filesystem::remove(layout.blobs() / "sha256" / "notes.txt");
    expect_consistent();
  }
  store.reset();
  std::filesystem::remove_all(layout.index());
  open();
  wait_complete();
  EXPECT_TRUE(held(blob_));
  expect_consistent();
}

TEST_F(RecoveryTest, AnIndexOfAnotherFormatIsMadeAnewOfTheTree) {
  test::set_index_format(layout.index() / "data.mdb", 1);
  open();
  EXPECT_TRUE(held(blob_));
  EXPECT_EQ(store->partial_size(digest_of(partial_)), partial_.size());
  expect_consistent();
}

TEST_F(RecoveryTest, ADirectoryThatCannotBeMadeIsAnError) {
  write_file(directory.path() / "file", "");
  EXPECT_THROW(BlobStore({.root = directory.path() / "file" / "cache", .capacity = kMiB}),
               base::IoError);
}

}  // namespace
}  // namespace cache

// A BlobStore in a temporary directory, and what must always be true of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "base/durable_file.h"
#include "cache/blob_store.h"
#include "cache/blob_writer.h"
#include "cache/block_map.h"
#include "cache/layout.h"
#include "cache/space.h"
#include "tests/cache/content.h"
#include "tests/support/temp_dir.h"

namespace test {

inline std::string read_all(const cache::Blob& blob) {
  if (blob.bytes()) return std::string(*blob.bytes());
  std::string bytes(blob.size(), '\0');
  EXPECT_EQ(base::read_at(blob.fd(), 0, bytes.data(), bytes.size()), bytes.size());
  return bytes;
}

class StoreTest : public testing::Test {
 protected:
  static constexpr uint64_t kMiB = 1 << 20;

  // Before what a derived fixture has and the store's thread may ask: its clock, its disk.
  void TearDown() override { store.reset(); }

  // What the map of a small partial blob takes while one is written.
  static constexpr uint64_t kMap = 2 * 4096;

  // With room for so many bytes, and for the map of one writer.
  void open(uint64_t capacity = 100 * kMiB, size_t hot_blobs = 4096) {
    open(cache::BlobStoreOptions{
        .root = root(), .capacity = capacity + kMap, .hot_blobs = hot_blobs});
  }
  void open(const cache::BlobStoreOptions& options) {
    store.reset();
    store = std::make_unique<cache::BlobStore>(options);
  }
  // Until the tree is read, if the index was lost.
  void wait_complete() const {
    while (!store->stats().complete) std::this_thread::yield();
  }
  uint64_t used() const {
    const cache::StoreStats stats = store->stats();
    return stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes;
  }
  std::filesystem::path root() const { return directory.path() / "cache"; }

  static std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void write_file(const std::filesystem::path& path, std::string_view bytes) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }

  bool held(std::string_view bytes) {
    const std::shared_ptr<const cache::Blob> blob = store->open(digest_of(bytes));
    return blob != nullptr && read_all(*blob) == bytes;
  }

  // With no writer open: the accounting is what is on disk, every file in blobs/ is a blob that is
  // held and has its digest, and incoming/ has nothing but pairs of a partial blob and its map.
  void expect_consistent() {
    uint64_t blobs = 0;
    uint64_t blob_bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(layout.blobs())) {
      if (!entry.is_regular_file()) continue;
      ++blobs;
      blob_bytes += cache::Space::on_disk(entry.file_size());
      const auto digest = layout.digest_of_blob(entry.path());
      ASSERT_TRUE(digest) << entry.path();
      EXPECT_TRUE(store->contains(*digest)) << entry.path();
      EXPECT_EQ(oci::Digest::of(digest->algorithm(), read_file(entry.path())), *digest);
    }
    uint64_t partial_bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator(layout.incoming())) {
      const auto digest = cache::Layout::digest_of_partial(entry.path());
      ASSERT_TRUE(digest) << entry.path();
      EXPECT_TRUE(std::filesystem::exists(layout.partial(*digest)));
      EXPECT_TRUE(std::filesystem::exists(layout.partial_map(*digest)));
      if (entry.path() != layout.partial(*digest)) continue;
      partial_bytes += cache::partial_on_disk(entry.file_size());
      EXPECT_EQ(store->partial_size(*digest), entry.file_size());
    }
    const cache::StoreStats stats = store->stats();
    EXPECT_EQ(stats.index_bytes, 0U);
    EXPECT_EQ(stats.blobs, blobs);
    EXPECT_EQ(stats.blob_bytes, blob_bytes);
    EXPECT_EQ(stats.reserved_bytes, partial_bytes);
    EXPECT_EQ(stats.unlinked_bytes, 0U);
    EXPECT_LE(stats.blob_bytes + stats.reserved_bytes, stats.capacity);
  }

  TempDir directory;
  cache::Layout layout{directory.path() / "cache"};
  std::unique_ptr<cache::BlobStore> store;
};

}  // namespace test

#include "cache/block_map.h"

#include <gtest/gtest.h>

#include "cache/blob_store.h"
#include "cache/little_endian.h"
#include "oci/digest.h"

namespace cache {
namespace {

TEST(BlockMap, CountsBlocks) {
  EXPECT_EQ(BlockMap(0).blocks(), 0U);
  EXPECT_EQ(BlockMap(1).blocks(), 1U);
  EXPECT_EQ(BlockMap(kBlockSize).blocks(), 1U);
  EXPECT_EQ(BlockMap(kBlockSize + 1).blocks(), 2U);
  EXPECT_FALSE(BlockMap(0).has(0));
  EXPECT_FALSE(BlockMap(1).has(1));
}

TEST(BlockMap, RemembersMarks) {
  BlockMap map(20 * kBlockSize + 5);
  map.mark(0);
  map.mark(20);
  map.mark(20);
  EXPECT_TRUE(map.has(0));
  EXPECT_FALSE(map.has(1));
  EXPECT_TRUE(map.has(20));
  EXPECT_EQ(map.marked(), 2U);
}

TEST(BlockMap, SurvivesTheDisk) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, 8 * kBlockSize, 33 * kBlockSize + 7}) {
    BlockMap map(size);
    for (uint64_t block = 0; block < map.blocks(); block += 3) map.mark(block);
    const auto read = BlockMap::decode(map.encode());
    ASSERT_TRUE(read) << size;
    EXPECT_EQ(read->size(), size);
    EXPECT_EQ(read->marked(), map.marked());
    for (uint64_t block = 0; block < map.blocks(); ++block) {
      EXPECT_EQ(read->has(block), map.has(block)) << size << " " << block;
    }
  }
}

TEST(BlockMap, RemembersTheBootAndTheAccount) {
  BlockMap map(3 * kBlockSize, "boot", "upstream");
  map.mark(1);
  const auto read = BlockMap::decode(map.encode());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->boot(), "boot");
  EXPECT_EQ(read->account(), "upstream");
  EXPECT_TRUE(read->has(1));
  const auto nobodys = BlockMap::decode(BlockMap(5, "boot", std::string(300, 'x')).encode());
  ASSERT_TRUE(nobodys);
  EXPECT_EQ(nobodys->account(), "") << "a name that is too long";
}

TEST(BlockMap, ReadsVersion1AsOfNoBoot) {
  std::string bytes = "ENTRBMAP";
  append_u32(bytes, 1);
  append_u32(bytes, kBlockSize);
  append_u64(bytes, 3 * kBlockSize);
  bytes += '\2';
  bytes += oci::Digest::of(oci::Algorithm::sha256, bytes).bytes();
  const auto read = BlockMap::decode(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->size(), 3 * kBlockSize);
  EXPECT_TRUE(read->has(1) && !read->has(0));
  EXPECT_EQ(read->boot(), "");
}

TEST(BlockMap, RefusesEveryDamage) {
  BlockMap map(9 * kBlockSize, "boot", "upstream");
  map.mark(3);
  const std::string good = map.encode();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    EXPECT_FALSE(BlockMap::decode(flipped)) << "byte " << i;
    EXPECT_FALSE(BlockMap::decode(good.substr(0, i))) << "length " << i;
  }
  EXPECT_FALSE(BlockMap::decode(good + '\0'));
}

}  // namespace
}  // namespace cache

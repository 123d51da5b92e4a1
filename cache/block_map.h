// BlockMap: which blocks of a partial blob are there, and its form on disk. A value; no I/O.
//
// On disk, integers little-endian: "ENTRBMAP", u32 version (1), u32 block size, u64 blob size, one
// bit per block (least significant first), sha256 of all that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cache {

// What a partial blob takes on disk: its bytes, and its map, which is there twice while it is being
// saved. REQUIRES: size < 2^62.
uint64_t partial_on_disk(uint64_t size);

class BlockMap {
 public:
  // No block is there.
  explicit BlockMap(uint64_t size);

  uint64_t size() const { return size_; }
  uint64_t blocks() const;
  uint64_t marked() const { return marked_; }
  bool has(uint64_t block) const;
  // REQUIRES: block < blocks().
  void mark(uint64_t block);

  std::string encode() const;
  // nullopt unless these are exactly the bytes of an encode() with the same block size.
  static std::optional<BlockMap> decode(std::string_view bytes);

 private:
  uint64_t size_;
  uint64_t marked_ = 0;
  std::string bits_;
};

}  // namespace cache

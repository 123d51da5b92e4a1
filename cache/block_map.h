// BlockMap: which blocks of a partial blob are there, since which boot and for whom, and its form
// on disk. A value; no I/O.
//
// On disk, integers little-endian: "ENTRBMAP", u32 version (2), u32 block size, u64 blob size, boot
// and account (u32 length and bytes each), one bit per block (least significant first), sha256 of
// all that. Version 1 had neither boot nor account.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace cache {

// What a partial blob takes on disk: its bytes, and its map, which is there twice while it is being
// saved. REQUIRES: size < 2^62.
uint64_t partial_on_disk(uint64_t size);

class BlockMap {
 public:
  // Longer encodings are not read: this one belongs to a partial blob of 8 TiB.
  static constexpr uint64_t kMaxEncoded = 1 << 20;

  // No block is there. `boot` is the machine's, under which all its blocks will have been written.
  explicit BlockMap(uint64_t size, std::string boot = "", std::string account = "");

  uint64_t size() const { return size_; }
  // Empty: not known.
  const std::string& boot() const { return boot_; }
  const std::string& account() const { return account_; }
  void set_account(std::string account) { account_ = std::move(account); }
  uint64_t blocks() const;
  uint64_t marked() const { return marked_; }
  bool has(uint64_t block) const;
  // REQUIRES: block < blocks().
  void mark(uint64_t block);

  std::string encode() const;
  // nullopt unless these are exactly the bytes of an encode(), of this version or an older one,
  // with the same block size.
  static std::optional<BlockMap> decode(std::string_view bytes);

 private:
  uint64_t size_;
  std::string boot_;
  std::string account_;
  uint64_t marked_ = 0;
  std::string bits_;
};

}  // namespace cache

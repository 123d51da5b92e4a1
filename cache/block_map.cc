#include "cache/block_map.h"

#include <glog/logging.h>

#include "cache/blob_store.h"
#include "cache/little_endian.h"
#include "cache/space.h"
#include "oci/digest.h"

namespace cache {
namespace {

constexpr std::string_view kMagic = "ENTRBMAP";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeader = 8 + 4 + 4 + 8;
constexpr size_t kChecksum = 32;

uint64_t blocks_of(uint64_t size) { return size / kBlockSize + (size % kBlockSize != 0 ? 1 : 0); }

std::string checksum(std::string_view bytes) {
  return std::string(oci::Digest::of(oci::Algorithm::sha256, bytes).bytes());
}

size_t bytes_of_bits(uint64_t size) { return (blocks_of(size) + 7) / 8; }

}  // namespace

uint64_t partial_on_disk(uint64_t size) {
  return Space::on_disk(size) + 2 * Space::on_disk(kHeader + bytes_of_bits(size) + kChecksum);
}

BlockMap::BlockMap(uint64_t size) : size_(size), bits_(bytes_of_bits(size), '\0') {}

uint64_t BlockMap::blocks() const { return blocks_of(size_); }

bool BlockMap::has(uint64_t block) const {
  return block < blocks() && (static_cast<uint8_t>(bits_[block / 8]) >> (block % 8) & 1) != 0;
}

void BlockMap::mark(uint64_t block) {
  CHECK_LT(block, blocks());
  if (has(block)) return;
  bits_[block / 8] = static_cast<char>(static_cast<uint8_t>(bits_[block / 8]) | 1U << (block % 8));
  ++marked_;
}

std::string BlockMap::encode() const {
  std::string out(kMagic);
  append_u32(out, kVersion);
  append_u32(out, kBlockSize);
  append_u64(out, size_);
  out += bits_;
  out += checksum(out);
  return out;
}

std::optional<BlockMap> BlockMap::decode(std::string_view bytes) {
  if (bytes.size() < kHeader + kChecksum) return std::nullopt;
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksum);
  const uint64_t size = read_u64(body, 16);
  if (!body.starts_with(kMagic) || read_u32(body, 8) != kVersion ||
      read_u32(body, 12) != kBlockSize || body.size() - kHeader != bytes_of_bits(size) ||
      bytes.substr(body.size()) != checksum(body)) {
    return std::nullopt;
  }
  BlockMap map(size);
  const std::string_view bits = body.substr(kHeader);
  for (uint64_t block = 0; block < map.blocks(); ++block) {
    if ((static_cast<uint8_t>(bits[block / 8]) >> (block % 8) & 1) != 0) map.mark(block);
  }
  return map;
}

}  // namespace cache

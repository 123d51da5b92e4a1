#include "cache/block_map.h"

#include <glog/logging.h>

#include "cache/blob_store.h"
#include "cache/little_endian.h"
#include "cache/space.h"
#include "oci/digest.h"

namespace cache {
namespace {

constexpr std::string_view kMagic = "ENTRBMAP";
constexpr uint32_t kVersion = 2;
constexpr size_t kHeader = 8 + 4 + 4 + 8;
constexpr size_t kChecksum = 32;
// The longest text that is kept, so that what a map takes is known from the size of its blob: a
// boot is a UUID, and an account with a longer name is not known after a restart.
constexpr size_t kMaxText = 255;
constexpr size_t kTexts = 2 * (4 + kMaxText);

uint64_t blocks_of(uint64_t size) { return size / kBlockSize + (size % kBlockSize != 0 ? 1 : 0); }

std::string checksum(std::string_view bytes) {
  return std::string(oci::Digest::of(oci::Algorithm::sha256, bytes).bytes());
}

size_t bytes_of_bits(uint64_t size) { return (blocks_of(size) + 7) / 8; }

std::string_view kept(std::string_view text) { return text.size() > kMaxText ? "" : text; }

// Takes a text off the front; nullopt if it is not all there.
std::optional<std::string> take_text(std::string_view& bytes) {
  if (bytes.size() < 4 || bytes.size() - 4 < read_u32(bytes, 0)) return std::nullopt;
  std::string text(bytes.substr(4, read_u32(bytes, 0)));
  bytes.remove_prefix(4 + text.size());
  return text;
}

}  // namespace

uint64_t partial_on_disk(uint64_t size) {
  return Space::on_disk(size) +
         2 * Space::on_disk(kHeader + kTexts + bytes_of_bits(size) + kChecksum);
}

BlockMap::BlockMap(uint64_t size, std::string boot, std::string account)
    : size_(size),
      boot_(std::move(boot)),
      account_(std::move(account)),
      bits_(bytes_of_bits(size), '\0') {}

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
  append_text(out, kept(boot_));
  append_text(out, kept(account_));
  out += bits_;
  out += checksum(out);
  return out;
}

std::optional<BlockMap> BlockMap::decode(std::string_view bytes) {
  if (bytes.size() < kHeader + kChecksum) return std::nullopt;
  const std::string_view body = bytes.substr(0, bytes.size() - kChecksum);
  const uint32_t version = read_u32(body, 8);
  const uint64_t size = read_u64(body, 16);
  if (!body.starts_with(kMagic) || version == 0 || version > kVersion ||
      read_u32(body, 12) != kBlockSize || bytes.substr(body.size()) != checksum(body)) {
    return std::nullopt;
  }
  std::string_view bits = body.substr(kHeader);
  std::optional<std::string> boot = "";
  std::optional<std::string> account = "";
  if (version > 1) {
    boot = take_text(bits);
    account = take_text(bits);
  }
  if (!boot || !account || bits.size() != bytes_of_bits(size)) return std::nullopt;
  BlockMap map(size, std::move(*boot), std::move(*account));
  for (uint64_t block = 0; block < map.blocks(); ++block) {
    if ((static_cast<uint8_t>(bits[block / 8]) >> (block % 8) & 1) != 0) map.mark(block);
  }
  return map;
}

}  // namespace cache

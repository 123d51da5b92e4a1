// Blobs for the tests: bytes that depend on a number, the same in every process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "cache/blob_store.h"
#include "cache/blob_writer.h"
#include "oci/digest.h"

namespace test {

inline std::string content(uint64_t seed, uint64_t size) {
  std::string bytes(size, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (uint64_t at = 0; at < size; at += sizeof state) {  // 8 bytes a step: this is not optimised
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(&bytes[at], &state, std::min(sizeof state, size - at));
  }
  return bytes;
}

inline oci::Digest digest_of(std::string_view bytes) {
  return oci::Digest::of(oci::Algorithm::sha256, bytes);
}

// Makes the index in this file one of another format: "format" and a number of four bytes.
inline void set_index_format(const std::filesystem::path& path, char format) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const std::string key = "format";
  for (size_t at = bytes.find(key); at != std::string::npos; at = bytes.find(key, at + 1)) {
    file.seekp(static_cast<std::streamoff>(at + key.size()));
    file.put(format);
  }
}

// Writes and marks the blocks from `begin` to before `end`, as far as the blob goes.
inline void write_blocks(cache::BlobWriter& writer, std::string_view bytes, uint64_t begin,
                         uint64_t end) {
  for (uint64_t block = begin; block < end && block < writer.blocks(); ++block) {
    writer.write(block * cache::kBlockSize,
                 bytes.substr(block * cache::kBlockSize, cache::kBlockSize));
    writer.mark(block);
  }
}

// Fills and commits; nullptr if there is no space.
inline std::shared_ptr<const cache::Blob> put(cache::BlobStore& store, const oci::Digest& digest,
                                              std::string_view bytes) {
  auto writer = store.write(digest, bytes.size());
  if (!writer) return nullptr;
  write_blocks(**writer, bytes, 0, (*writer)->blocks());
  return (*writer)->commit();
}

}  // namespace test

// Little-endian integers in byte strings, for the records the cache keeps on disk, and
// texts behind their lengths. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cache {

template <typename Integer>
void append_little_endian(std::string& out, Integer value) {
  for (size_t i = 0; i < sizeof(value); ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}
inline void append_u32(std::string& out, uint32_t value) { append_little_endian(out, value); }
inline void append_u64(std::string& out, uint64_t value) { append_little_endian(out, value); }
inline void append_text(std::string& out, std::string_view text) {
  append_u32(out, static_cast<uint32_t>(text.size()));
  out += text;
}

// REQUIRES: the integer lies inside the bytes.
template <typename Integer>
Integer read_little_endian(std::string_view bytes, size_t offset) {
  Integer value = 0;
  for (size_t i = 0; i < sizeof(value); ++i) {
    value |= static_cast<Integer>(static_cast<uint8_t>(bytes[offset + i])) << (8 * i);
  }
  return value;
}
inline uint32_t read_u32(std::string_view bytes, size_t offset) {
  return read_little_endian<uint32_t>(bytes, offset);
}
inline uint64_t read_u64(std::string_view bytes, size_t offset) {
  return read_little_endian<uint64_t>(bytes, offset);
}

}  // namespace cache

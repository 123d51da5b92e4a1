// The Range header field (RFC 9110 §14). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace http {

struct ByteRange {
  uint64_t first;
  uint64_t length;  // at least 1
  uint64_t end() const { return first + length; }
  bool operator==(const ByteRange&) const = default;
};

// What a Range field means for a representation of `size` bytes.
struct RangeSelection {
  enum class Kind {
    whole,          // no usable range: send everything with 200
    partial,        // send `ranges` with 206
    unsatisfiable,  // 416 with "Content-Range: bytes */<size>"
  };
  Kind kind = Kind::whole;
  std::vector<ByteRange>
      ranges;  // in the order asked for; adjacent or overlapping ones are not merged
};

// At most this many ranges, and never more bytes than the representation has: beyond, the whole is
// sent (RFC 9110 §14.2; CVE-2011-3192).
inline constexpr size_t kMaxRanges = 16;

// `field` is the Range header's value. An unknown unit or a syntax error means `whole`, except that
// "bytes=5-2" is `unsatisfiable`, as Distribution answers and the OCI conformance suite expects.
RangeSelection parse_range(std::string_view field, uint64_t size);

// "bytes 0-99/1234"
std::string content_range(const ByteRange& range, uint64_t size);

}  // namespace http

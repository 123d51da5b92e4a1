// The first eight bytes are the size of the representation, the rest is the Range field.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "http/range.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t length = 0;
  if (size < sizeof length) return 0;
  std::memcpy(&length, data, sizeof length);
  const std::string_view field(reinterpret_cast<const char*>(data) + sizeof length,
                               size - sizeof length);
  const http::RangeSelection selection = http::parse_range(field, length);
  const bool partial = selection.kind == http::RangeSelection::Kind::partial;
  if (partial == selection.ranges.empty()) std::abort();
  if (selection.ranges.size() > http::kMaxRanges) std::abort();
  uint64_t total = 0;
  for (const http::ByteRange& range : selection.ranges) {
    if (range.length == 0 || range.first >= length || range.length > length - range.first ||
        range.length > length - total) {
      std::abort();
    }
    total += range.length;
    http::content_range(range, length);
  }
  return 0;
}

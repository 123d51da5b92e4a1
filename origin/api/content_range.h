// The Content-Range of a chunk: "<first>-<last>" (distribution-spec "Pushing a blob in chunks"),
// not the "bytes <first>-<last>/<size>" of RFC 9110, which is understood too. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace origin::api {

struct Chunk {
  uint64_t first;
  uint64_t length;  // at least 1
};

// nullopt if it is neither.
std::optional<Chunk> parse_content_range(std::string_view text);

}  // namespace origin::api

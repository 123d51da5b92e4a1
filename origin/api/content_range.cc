#include "origin/api/content_range.h"

#include <charconv>

namespace origin::api {
namespace {

bool take_number(std::string_view& text, uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

}  // namespace

std::optional<Chunk> parse_content_range(std::string_view text) {
  // Far beyond any blob, and far from overflow.
  constexpr uint64_t kMaxOffset = uint64_t{1} << 62;
  if (text.starts_with("bytes ")) text.remove_prefix(6);
  uint64_t first = 0;
  uint64_t last = 0;
  if (!take_number(text, first) || !text.starts_with('-')) return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(text, last) || !(text.empty() || text.starts_with('/'))) return std::nullopt;
  if (first > last || last > kMaxOffset) return std::nullopt;
  return Chunk{first, last - first + 1};
}

}  // namespace origin::api

#include "http/cdn_loop.h"

#include <algorithm>

#include "http/message.h"

namespace http {
namespace {

// Chains are a few names long. What is longer, servers refuse as a malformed request.
constexpr size_t kLongest = 1024;
// The list's next element, without its parameters, taken off the text. Commas may be quoted in
// parameters.
std::string_view next_id(std::string_view& rest) {
  size_t end = 0;
  bool quoted = false;
  while (end < rest.size() && (quoted || rest[end] != ',')) {
    if (quoted && rest[end] == '\\') {
      ++end;  // and what it escapes
    } else if (rest[end] == '"') {
      quoted = !quoted;
    }
    ++end;
  }
  std::string_view id = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return trim(id.substr(0, id.find(';')));
}

}  // namespace

bool has_passed(std::string_view cdn_loop, std::string_view id) {
  while (!cdn_loop.empty()) {
    if (iequals(next_id(cdn_loop), id)) return true;
  }
  return false;
}

bool can_go_on(std::string_view cdn_loop) {
  return cdn_loop.size() <= kLongest &&
         std::ranges::all_of(cdn_loop, [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

}  // namespace http

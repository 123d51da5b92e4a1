#include "http/retry_after.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <string>

#include "base/ascii.h"

namespace http {
namespace {

// Far beyond what anyone waits for, and far from overflow.
constexpr int64_t kMost = int64_t{366} * 24 * 3600;

std::optional<int64_t> parse_date(const std::string& text) {
  tm parts{};
  const char* const end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

}  // namespace

std::optional<std::chrono::seconds> parse_retry_after(std::string_view text, int64_t unix_now) {
  const bool digits = !text.empty() && std::ranges::all_of(text, base::is_digit);
  int64_t wait = 0;
  if (digits) {
    const auto error = std::from_chars(text.data(), text.data() + text.size(), wait).ec;
    if (error != std::errc()) wait = kMost;
  } else if (const auto date = parse_date(std::string(text))) {
    wait = *date - unix_now;
  } else {
    return std::nullopt;
  }
  return std::chrono::seconds(std::clamp<int64_t>(wait, 0, kMost));
}

}  // namespace http

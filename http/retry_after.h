// Retry-After (RFC 9110 §10.2.3). Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace http {

// How long to wait, from a number of seconds or a date (IMF-fixdate; the obsolete forms are not
// read), never negative. nullopt: it says nothing.
std::optional<std::chrono::seconds> parse_retry_after(std::string_view text, int64_t unix_now);

}  // namespace http

// Sizes and durations as people write them in configuration and on command lines. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace base {

// Bytes: "4096", "64KiB", "100MB", "2TiB"; nullopt if it is not that, or too large.
std::optional<uint64_t> parse_size(std::string_view text);

// As Go's time.ParseDuration, without a sign: "300ms", "1h15m30.5s", "0".
std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text);

// The shortest exact text that the two functions above read as this value: "1m30s", "100GiB".
std::string format_duration(std::chrono::nanoseconds duration);
std::string format_size(uint64_t bytes);

}  // namespace base

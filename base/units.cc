#include "base/units.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ranges>
#include <span>

#include "base/ascii.h"

namespace base {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};

constexpr Unit kDurationUnits[] = {
    {"ns", 1},
    {"us", 1'000},
    {"µs", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"m", 60'000'000'000},
    {"h", 3'600'000'000'000},
};

constexpr Unit kSizeUnits[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1'000},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
    {"KiB", 1ULL << 10},
    {"MiB", 1ULL << 20},
    {"GiB", 1ULL << 30},
    {"TiB", 1ULL << 40},
};

std::optional<uint64_t> factor_of(std::string_view name, std::span<const Unit> units) {
  const auto unit = std::ranges::find(units, name, &Unit::name);
  return unit == units.end() ? std::nullopt : std::optional(unit->factor);
}

// Takes the decimal number at the start of the text off it; nullopt if there is none or it does not
// fit.
std::optional<uint64_t> take_number(std::string_view& text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  const std::optional<uint64_t> number = take_number(text);
  const std::optional<uint64_t> factor = factor_of(text, kSizeUnits);
  uint64_t size = 0;
  if (!number || !factor || __builtin_mul_overflow(*number, *factor, &size)) return std::nullopt;
  return size;
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) return std::nullopt;
  int64_t total = 0;
  while (!text.empty()) {
    const std::optional<uint64_t> whole = take_number(text);
    double fraction = 0;
    if (text.starts_with('.')) {
      text.remove_prefix(1);
      double place = 0.1;
      for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), place /= 10) {
        fraction += place * (text.front() - '0');
      }
    }
    const auto name_end =
        std::ranges::find_if(text, [](char c) { return c == '.' || is_digit(c); });
    const std::string_view name(text.begin(), name_end);
    const std::optional<uint64_t> factor = factor_of(name, kDurationUnits);
    int64_t part = 0;
    if (!whole || !factor || __builtin_mul_overflow(*whole, *factor, &part) ||
        __builtin_add_overflow(total, part, &total) ||
        __builtin_add_overflow(total, std::llround(fraction * static_cast<double>(*factor)),
                               &total)) {
      return std::nullopt;
    }
    text.remove_prefix(name.size());
  }
  return std::chrono::nanoseconds(total);
}

std::string format_duration(std::chrono::nanoseconds duration) {
  auto left = static_cast<uint64_t>(std::max(duration, std::chrono::nanoseconds(0)).count());
  if (left == 0) return "0s";
  std::string text;
  for (const Unit& unit : std::ranges::reverse_view(kDurationUnits)) {
    if (unit.name == "µs" || left < unit.factor) continue;
    text += std::to_string(left / unit.factor) + std::string(unit.name);
    left %= unit.factor;
  }
  return text;
}

std::string format_size(uint64_t bytes) {
  for (const Unit& unit : std::ranges::reverse_view(kSizeUnits)) {
    const bool exact = bytes >= unit.factor && bytes % unit.factor == 0;
    if (exact && unit.name != "B")
      return std::to_string(bytes / unit.factor) + std::string(unit.name);
  }
  return std::to_string(bytes);
}

}  // namespace base

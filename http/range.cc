#include "http/range.h"

#include <algorithm>
#include <limits>

#include "http/message.h"

namespace http {
namespace {

// Digits only. A number too large for 64 bits becomes the largest one: it is beyond any end all the
// same (CVE-2017-7529 was such an overflow).
std::optional<uint64_t> saturated_number(std::string_view text) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  if (text.empty()) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<uint64_t>(c - '0');
    value = value > (kMax - digit) / 10 ? kMax : value * 10 + digit;
  }
  return value;
}

enum class Spec { valid, beyond, backwards, malformed };

// One range-spec: "first-", "first-last" or "-suffix".
Spec parse_spec(std::string_view spec, uint64_t size, ByteRange& range) {
  const size_t dash = spec.find('-');
  if (dash == std::string_view::npos) return Spec::malformed;
  const std::string_view left = spec.substr(0, dash);
  const std::optional<uint64_t> right = saturated_number(spec.substr(dash + 1));
  if (left.empty()) {
    if (!right) return Spec::malformed;
    const uint64_t length = std::min(*right, size);
    range = {size - length, length};
    return length == 0 ? Spec::beyond : Spec::valid;
  }
  const std::optional<uint64_t> first = saturated_number(left);
  if (!first || (!right && dash + 1 != spec.size())) return Spec::malformed;
  if (right && *right < *first) return Spec::backwards;
  if (*first >= size) return Spec::beyond;
  const uint64_t last = right ? std::min(*right, size - 1) : size - 1;
  range = {*first, last - *first + 1};
  return Spec::valid;
}

}  // namespace

RangeSelection parse_range(std::string_view field, uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  field = trim(field);
  if (!iequals(field.substr(0, kUnit.size()), kUnit)) return {};

  RangeSelection selection;
  size_t specs = 0;
  uint64_t total = 0;
  bool backwards = false;
  std::string_view rest = field.substr(kUnit.size());
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    const std::string_view spec = trim(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (spec.empty()) continue;  // RFC 9110 §5.6.1.2: empty list elements are ignored
    if (++specs > kMaxRanges) return {};
    ByteRange range{};
    switch (parse_spec(spec, size, range)) {
      case Spec::malformed:
        return {};
      case Spec::backwards:
        backwards = true;
        break;
      case Spec::beyond:
        break;
      case Spec::valid:
        if (range.length > size - total) return {};
        total += range.length;
        selection.ranges.push_back(range);
        break;
    }
  }
  if (specs == 0) return {};
  if (backwards) return {RangeSelection::Kind::unsatisfiable, {}};
  // Nothing of an empty representation can be selected, but clients that send "bytes=0-" with every
  // request want it; Go's server answers them with the whole, too.
  if (selection.ranges.empty())
    return {size == 0 ? RangeSelection::Kind::whole : RangeSelection::Kind::unsatisfiable, {}};
  selection.kind = RangeSelection::Kind::partial;
  return selection;
}

std::string content_range(const ByteRange& range, uint64_t size) {
  return "bytes " + std::to_string(range.first) + "-" + std::to_string(range.end() - 1) + "/" +
         std::to_string(size);
}

}  // namespace http

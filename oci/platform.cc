#include "oci/platform.h"

#include <algorithm>
#include <string>
#include <vector>

namespace oci {
namespace {

// What an index means that names no variant, as all clients take it.
std::string_view variant_of(const Platform& platform) {
  if (!platform.variant.empty()) return platform.variant;
  if (platform.architecture == "arm64") return "v8";
  if (platform.architecture == "arm") return "v7";
  return {};
}

}  // namespace

bool Platform::meant_by(const Platform& wanted) const {
  return architecture == wanted.architecture && os == wanted.os &&
         (wanted.variant.empty() || variant_of(*this) == wanted.variant);
}

std::optional<Platform> parse_platform(std::string_view text) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  if (std::ranges::any_of(parts, &std::string::empty)) return std::nullopt;
  return Platform{.architecture = parts[1],
                  .os = parts[0],
                  .variant = parts.size() == 3 ? parts[2] : std::string()};
}

}  // namespace oci

// What an image runs on (image-spec "Image Index", the platform of a descriptor). Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace oci {

// Empty where the index does not say.
struct Platform {
  std::string architecture;
  std::string os;
  std::string variant;  // of the architecture: v7

  bool operator==(const Platform&) const = default;

  // Whether what runs on this is meant by `wanted`, which means all variants if it names none.
  bool meant_by(const Platform& wanted) const;
};

// "<os>/<architecture>" or "<os>/<architecture>/<variant>", as clients write it; nullopt if it is
// neither.
std::optional<Platform> parse_platform(std::string_view text);

}  // namespace oci

// What a manifest may refer to, and which of it must be in the repository before it is accepted:
// Distribution's section "validation". Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "oci/manifest.h"
#include "origin/url_rules.h"

namespace origin {

struct Validation {
  enum class Children : uint8_t { all, listed, none };

  Children children = Children::all;     // manifests.indexes.platforms
  std::vector<oci::Platform> platforms;  // manifests.indexes.platformlist, for Children::listed
  bool layers = true;                    // manifests.images.layers; ours
  std::optional<UrlRules> urls;          // manifests.urls; none: layers may have any

  // Whether this child of an index must be there.
  bool requires_child(const oci::Descriptor& child) const;
  // Whether this layer of an image must be there. Its config always must.
  bool requires_layer(const oci::Descriptor& layer) const;
  // Whether this layer may have the URLs that it has.
  bool allows_urls(const oci::Descriptor& layer) const;
};

}  // namespace origin

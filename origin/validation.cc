#include "origin/validation.h"

#include <algorithm>

namespace origin {

bool Validation::requires_child(const oci::Descriptor& child) const {
  if (children != Children::listed) return children == Children::all;
  return std::ranges::find(platforms, child.platform) != platforms.end();
}

bool Validation::requires_layer(const oci::Descriptor& layer) const {
  return layers && layer.distributable;
}

}  // namespace origin

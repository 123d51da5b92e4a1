#include "origin/validation.h"

#include <algorithm>

namespace origin {

bool Validation::requires_child(const oci::Descriptor& child) const {
  if (children != Children::listed) return children == Children::all;
  return std::ranges::any_of(
      platforms, [&](const oci::Platform& each) { return child.platform.meant_by(each); });
}

bool Validation::requires_layer(const oci::Descriptor& layer) const {
  return layers && layer.distributable;
}

bool Validation::allows_urls(const oci::Descriptor& layer) const {
  return !urls ||
         std::ranges::all_of(layer.urls, [&](const auto& url) { return urls->allows(url); });
}

}  // namespace origin

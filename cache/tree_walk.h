// Reading the tree of blobs, for a store whose index was lost.
#pragma once

#include <functional>
#include <vector>

#include "cache/layout.h"
#include "oci/digest.h"

namespace cache {

// Gives the digests of all files in blobs/, a few hundred at a time, until the function returns
// false; true if it got them all. What is no blob is logged and left alone. Files that come or go
// meanwhile may be among them or not. Blocks; IoError.
bool walk_tree(const Layout& layout,
               const std::function<bool(const std::vector<oci::Digest>&)>& visit);

}  // namespace cache

// The catalog: which repositories there are, found by walking the tree. Blocks: run it on the pool.
// Any thread. IoError when the storage fails.
#pragma once

#include <string>
#include <vector>

#include "origin/storage/layout.h"

namespace origin {

class Catalog {
 public:
  explicit Catalog(const Layout& layout) : layout_(layout) {}

  // A directory is a repository when it has blobs or manifests, as in Distribution 2.8 and 3.
  bool exists(const std::string& repository) const;

  // The repositories that come after `last`, at most `limit`, in Distribution's order: that of the
  // path components, so that "a/b" comes before "a-b".
  std::vector<std::string> list(const std::string& last, size_t limit) const;

 private:
  const Layout& layout_;
};

}  // namespace origin

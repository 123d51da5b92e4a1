// The catalog: which repositories there are, found by walking the tree. Blocks: run it on the pool.
// Any thread. IoError when the storage fails.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "origin/storage/layout.h"

namespace origin {

class Catalog {
 public:
  explicit Catalog(const Layout& layout) : layout_(layout) {}

  // A directory is a repository when it has blobs or manifests, as in Distribution 2.8 and 3.
  bool exists(const std::string& repository) const;

  // The repositories that come after `last` and are wanted, at most `limit`, in Distribution's
  // order: that of the path components, so that "a/b" comes before "a-b". Without those that cannot
  // be read.
  using Wanted = std::function<bool(const std::string& repository)>;
  std::vector<std::string> list(const std::string& last, size_t limit,
                                const Wanted& wanted = any) const;

  static bool any(const std::string& /*repository*/) { return true; }

 private:
  const Layout& layout_;
};

}  // namespace origin

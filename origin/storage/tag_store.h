// Tags: names of manifests that move.
//
// All functions block: run them on the pool. Any thread, any number of replicas on one directory.
// Tags are valid (oci/name.h). IoError when the storage fails.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "oci/digest.h"
#include "origin/storage/layout.h"

namespace origin {

class TagStore {
 public:
  explicit TagStore(const Layout& layout) : layout_(layout) {}

  std::optional<oci::Digest> get(const std::string& repository, const std::string& tag) const;

  // Makes the tag name this manifest, which the repository has: first its history, then the tag.
  void put(const std::string& repository, const std::string& tag, const oci::Digest& digest);

  // Removes the tag and its history; false if there was none.
  bool remove(const std::string& repository, const std::string& tag);

  // Removes every tag that names this manifest, and returns them. One that a push moves meanwhile
  // stays where the push has put it.
  std::vector<std::string> remove_all_of(const std::string& repository, const oci::Digest& digest);

  // The tags in byte order that come after `last`; at most `limit`.
  std::vector<std::string> list(const std::string& repository, const std::string& last,
                                size_t limit) const;

 private:
  const Layout& layout_;
};

}  // namespace origin

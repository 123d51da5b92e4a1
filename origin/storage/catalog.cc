#include "origin/storage/catalog.h"

#include <algorithm>

#include "oci/name.h"
#include "origin/storage/action.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// '/' before every other character.
bool before(const std::string& a, const std::string& b) {
  return std::ranges::lexicographical_compare(a, b, [](char x, char y) {
    const auto rank = [](char c) { return c == '/' ? '\0' : c; };
    return rank(x) < rank(y);
  });
}

// Whether the whole subtree of `name` comes before or is `last`.
bool passed(const std::string& name, const std::string& last) {
  return !before(last, name) && !last.starts_with(name + '/') && name != last;
}

struct Walk {
  const Layout& layout;
  const std::string& last;
  size_t limit;
  const Catalog::Wanted& wanted;
  std::vector<std::string> found;

  void visit(const std::string& name) {
    if (found.size() == limit || passed(name, last)) return;
    const std::vector<std::string> children =
        one_of_many([&] { return list_directories(layout.repository(name)); });
    const bool repository = std::ranges::binary_search(children, "_layers") ||
                            std::ranges::binary_search(children, "_manifests");
    if (repository && before(last, name) && oci::valid_repository(name) && wanted(name)) {
      found.push_back(name);
    }
    for (const std::string& child : children) {
      if (child.front() == '_') continue;
      std::string below = name;
      below += '/';
      visit(below += child);
    }
  }
};

}  // namespace

bool Catalog::exists(const std::string& repository) const {
  return directory_exists(layout_.layers(repository)) ||
         directory_exists(layout_.manifests(repository));
}

std::vector<std::string> Catalog::list(const std::string& last, size_t limit,
                                       const Wanted& wanted) const {
  const ActionTimer timer(Action::walk);
  Walk walk{layout_, last, limit, wanted, {}};
  for (const std::string& name : list_directories(layout_.repositories())) walk.visit(name);
  return walk.found;
}

}  // namespace origin

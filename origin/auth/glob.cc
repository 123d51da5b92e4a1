#include "origin/auth/glob.h"

#include <vector>

namespace origin::auth {

bool valid_glob(std::string_view glob) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyz0123456789._-/*";
  return !glob.empty() && glob.find_first_not_of(kAllowed) == std::string_view::npos &&
         !glob.starts_with('/') && !glob.ends_with('/') &&
         glob.find("//") == std::string_view::npos;
}

bool glob_matches(std::string_view glob, std::string_view name) {
  // reached[i]: what was read of the glob can be the first i characters of the name.
  std::vector<bool> reached(name.size() + 1);
  reached[0] = true;
  for (size_t g = 0; g < glob.size(); ++g) {
    if (glob[g] != '*') {
      for (size_t i = name.size(); i > 0; --i) {
        reached[i] = reached[i - 1] && name[i - 1] == glob[g];
      }
      reached[0] = false;
      continue;
    }
    const bool across = glob.substr(g).starts_with("**");
    for (size_t i = 1; i <= name.size(); ++i) {
      if (reached[i - 1] && (across || name[i - 1] != '/')) reached[i] = true;
    }
    if (across) ++g;
  }
  return reached[name.size()];
}

}  // namespace origin::auth

// Globs over repository names: `*` is any part of one component, `**` any part of the whole name;
// both may be empty. "fedora/*" has "fedora/a" but not "fedora/a/b", which "fedora/**" has. Pure.
#pragma once

#include <string_view>

namespace origin::auth {

// Whether there can be repositories that match: characters of names, '/' and '*', not empty.
bool valid_glob(std::string_view glob);

bool glob_matches(std::string_view glob, std::string_view name);

}  // namespace origin::auth

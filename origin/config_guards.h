// What says who may do what, and what was meant to: a section for it that is misspelt or stands in
// the wrong place, left aside, would leave the registry open. Pure.
#pragma once

#include <string_view>

namespace origin {

// Of an unknown key, as base::ConfigFile names it: whether it is in a section that guards, has much
// the same name as one, or the name of one that belongs elsewhere.
bool guards(std::string_view path);

// The same of an environment variable that leads to no key. Not of those that Kubernetes sets for
// its services, one of which may well be called registry-auth.
bool variable_guards(std::string_view name);

}  // namespace origin

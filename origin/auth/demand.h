// Demand: what a request needs, in the words of Distribution's access records: a type, a name and
// an action each. Pure.
//
//   GET, HEAD                pull
//   POST, PUT, PATCH         pull and push
//   DELETE                   delete; of an upload: pull and push, since who began it may end it
//   _catalog                 registry:catalog:*
//   POST ?mount=…&from=…     also pull of `from`, without which it is an ordinary upload
//   /v2/                     nothing but to be somebody
//   OPTIONS                  as for /v2/; of _catalog: registry:catalog:*
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "oci/name.h"
#include "origin/auth/access_list.h"

namespace origin::auth {

struct Demand {
  enum class Kind {
    nothing,     // no route of the API: a health check, or an error anyway
    base,        // /v2/, and OPTIONS of what is in a repository
    catalog,     // _catalog
    repository,  // the actions on the repository
  };
  Kind kind = Kind::nothing;
  std::string repository;
  std::vector<Action> actions;
  std::string mount_from;  // empty without; a valid name
};

Demand demand_of(const http::Request& request, const oci::Route& route);

// As in a challenge: "repository:a/b:pull,push repository:c:pull"; empty for /v2/.
std::string scope_of(const Demand& demand);
// As in the body of an error: [{"Type":"repository","Class":"","Name":"a/b","Action":"pull"}, …];
// null for /v2/.
std::string detail_of(const Demand& demand);

}  // namespace origin::auth

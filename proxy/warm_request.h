// Warm request: which images an operator wants in the cache. Pure.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "oci/manifest.h"
#include "oci/name.h"
#include "proxy/routing.h"

namespace proxy {

struct WarmRequest {
  std::shared_ptr<Upstream> upstream;
  std::string repository;                   // its name there
  std::optional<oci::Reference> reference;  // nullopt: every tag
  std::vector<oci::Platform> platforms;     // none: all
};

// From {"image": …, "upstream": …, "platforms": [os/architecture, …], "all_tags": …}; only the
// image is required. It is written as for docker pull: repository[:tag|@digest], "latest" by
// default. http::StatusError (400) says what is wrong.
WarmRequest parse_warm_request(const nlohmann::json& json, const Routing& routing);

// Where a repository is, as an operator writes it: [registry/]repository, where the registry is one
// of an upstream's namespaces or hosts, its name, or the host of one of its URLs. Without a
// registry it is where a request for it without `ns` would go. With the name of an upstream it is
// the repository's name there. http::StatusError (400).
Routing::Destination find_repository(const Routing& routing, const std::string& repository,
                                     const std::string& upstream);

// The upstream of this name, the only one if the name is empty; http::StatusError (400).
std::shared_ptr<Upstream> upstream_named(const Routing& routing, const std::string& name);

}  // namespace proxy

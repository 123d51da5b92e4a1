// /v2/<name>/manifests/<reference>: GET, HEAD, PUT, DELETE (distribution-spec "Pulling manifests",
// "Pushing Manifests", "Deleting tags", "Deleting Manifests").
//
// The bytes are served as they were pushed, with the type they have, whatever the Accept field
// says: clients that cannot use it say so better than a 404 would.
#pragma once

#include "oci/name.h"
#include "origin/api/context.h"

namespace origin::api {

base::Task<void> manifests(const Context& context, http::Exchange& exchange,
                           const oci::ManifestRoute& route);

}  // namespace origin::api

// /v2/<name>/referrers/<digest>: GET (distribution-spec "Listing Referrers"). An unknown repository
// or digest has no referrers: clients take anything but 200 for a registry without this endpoint.
// More than 4 MiB of them come in pages, with a Link to the next.
#pragma once

#include "oci/name.h"
#include "origin/api/context.h"

namespace origin::api {

base::Task<void> referrers(const Context& context, http::Exchange& exchange,
                           const oci::ReferrersRoute& route);

}  // namespace origin::api

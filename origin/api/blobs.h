// /v2/<name>/blobs/<digest>: GET, HEAD, DELETE (distribution-spec "Pulling blobs", "Deleting
// Blobs").
#pragma once

#include "oci/name.h"
#include "origin/api/context.h"

namespace origin::api {

base::Task<void> blobs(const Context& context, http::Exchange& exchange,
                       const oci::BlobRoute& route);

}  // namespace origin::api

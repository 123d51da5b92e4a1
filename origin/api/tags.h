// /v2/<name>/tags/list: GET (distribution-spec "Listing Tags").
#pragma once

#include "oci/name.h"
#include "origin/api/context.h"

namespace origin::api {

base::Task<void> tags(const Context& context, http::Exchange& exchange,
                      const oci::TagsRoute& route);

}  // namespace origin::api

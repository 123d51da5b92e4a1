// /v2/_catalog: GET, Distribution's list of repositories: of those that who asks may
// pull from.
#pragma once

#include "origin/api/context.h"

namespace origin::api {

base::Task<void> catalog(const Context& context, http::Exchange& exchange);

}  // namespace origin::api

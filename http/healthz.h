// The answer for /healthz, by which load balancers know whether to send requests here.
#pragma once

#include <string_view>

#include "http/message.h"

namespace http {

// Requests for it are under no limits: a server that is full is in good health, and a balancer that
// took it out would fill the next one.
inline constexpr std::string_view kHealthzPath = "/healthz";

// 200, or 503 if there is a reason to go elsewhere, which it tells: "ending". 405 unless it is a
// GET or HEAD.
Response healthz(const Request& request, std::string_view reason);

}  // namespace http

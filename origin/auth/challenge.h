// The field WWW-Authenticate of a 401 (RFC 9110 §11.6.1), in Distribution's form. Pure.
#pragma once

#include <string>
#include <string_view>

#include "http/message.h"
#include "origin/auth/demand.h"
#include "origin/auth/token.h"

namespace origin::auth {

// Basic realm="…"
std::string basic_challenge(std::string_view realm);

// Bearer realm="…",service="…"[,scope="…"][,error="…"]
std::string token_challenge(const TokenConfig& config, const http::Request& request,
                            const Demand& demand, std::string_view error);

}  // namespace origin::auth

// Bearer tokens of auth.token (Distribution's "Token Authentication Specification"): which are
// good. Pure; any thread.
#pragma once

#include <chrono>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "origin/auth/jwt.h"
#include "origin/auth/trusted_keys.h"

namespace origin::auth {

struct TokenConfig {
  std::string realm;    // the token server's URL
  std::string service;  // must be in a token's audience
  std::string issuer;
  std::vector<std::string> algorithms;
  bool auto_redirect = false;  // the realm is this registry's own host
  std::string auto_redirect_path;
  std::shared_ptr<const TrustedKeys> keys;
};

// The token if everything about it is right at `now`, with a leeway of a minute for other clocks;
// else why not, without a word of the token. Takes up to milliseconds: run it on the pool.
std::expected<Jwt, std::string> verify_token(const TokenConfig& config, std::string_view token,
                                             std::chrono::system_clock::time_point now);

}  // namespace origin::auth

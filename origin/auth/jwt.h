// JSON Web Tokens in compact form (RFC 7519, 7515 §7.1): taken apart, not verified. Pure.
//
// Strict: base64url without padding, no member twice in what is looked at, no "crit", and limits on
// size and depth. What is not there is empty.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "origin/auth/identity.h"
#include "origin/auth/public_key.h"

namespace origin::auth {

struct Jwt {
  // Header.
  std::string algorithm;
  std::string key_id;
  std::vector<std::string> certificates;  // x5c: Base64 of DER, the signer's first
  std::optional<Jwk> key;                 // jwk

  // Claims.
  std::string issuer;
  std::string subject;
  std::vector<std::string> audience;
  std::optional<int64_t> expires;     // exp, Unix time in seconds
  std::optional<int64_t> not_before;  // nbf
  std::vector<Grant> access;

  std::string signed_text;
  std::string signature;
};

// The error says what is wrong, without a word of the token.
std::expected<Jwt, std::string> parse_jwt(std::string_view text);

// The keys of a JWK set (RFC 7517 §5).
std::expected<std::vector<Jwk>, std::string> parse_jwk_set(std::string_view json);

}  // namespace origin::auth

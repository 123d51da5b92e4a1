// The request for a bearer token that a challenge asks for (Distribution's "Token Authentication
// Specification"), and its answer. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/challenge.h"
#include "http/url.h"

namespace proxy {

struct TokenRequest {
  http::Url realm;
  std::string url;  // the realm with service and scope
};

// nullopt: the realm is no URL that this upstream's tokens may come from; an https upstream's never
// come by http.
std::optional<TokenRequest> token_request(const http::Challenge& challenge,
                                          const http::Url& upstream, const std::string& scope);

// Whether an upstream's user name and password may go to this realm, which only the upstream has
// named (CVE-2026-33540): the same host, a host of the same registrable domain by the public suffix
// list, or one that the operator lists. Never another address or localhost.
bool may_have_credentials(const http::Url& realm, const http::Url& upstream,
                          const std::vector<std::string>& listed);

struct Token {
  std::string text;
  std::chrono::seconds lifetime;  // of which some is taken off, so that it is fresh when it arrives
};
// From the answer's JSON. nullopt: there is no token in it that a header could carry.
std::optional<Token> parse_token(std::string_view json);

}  // namespace proxy

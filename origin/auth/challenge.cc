#include "origin/auth/challenge.h"

#include "http/forwarded.h"

namespace origin::auth {
namespace {

// A quoted-string (RFC 9110 §5.6.4). Control characters cannot come here: the configuration and
// the names of repositories have none.
std::string quoted_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

// As in Distribution always https: what is sent there are passwords.
std::string realm_of(const TokenConfig& config, const http::Request& request) {
  const std::string base = public_base(request);
  if (!config.auto_redirect || base.empty()) return config.realm;
  return "https" + base.substr(base.find("://")) + config.auto_redirect_path;
}

}  // namespace

std::string basic_challenge(std::string_view realm) {
  return "Basic realm=" + quoted_string(realm);
}

std::string token_challenge(const TokenConfig& config, const http::Request& request,
                            const Demand& demand, std::string_view error) {
  std::string challenge = "Bearer realm=" + quoted_string(realm_of(config, request)) +
                          ",service=" + quoted_string(config.service);
  if (const std::string scope = scope_of(demand); !scope.empty()) {
    challenge += ",scope=" + quoted_string(scope);
  }
  if (!error.empty()) challenge += ",error=" + quoted_string(error);
  return challenge;
}

}  // namespace origin::auth

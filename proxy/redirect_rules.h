// RedirectRules: where an upstream's redirects may lead. A redirect is the upstream's word, and
// must not make the edge ask what only the edge can reach (SSRF): no address that is private,
// loopback, link-local or otherwise not of the open network, unless the operator has listed it or
// the host. The address is that of the connection, so a name that resolves anew cannot lead astray.
// Constant; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "http/network.h"
#include "http/url.h"

namespace proxy {

inline constexpr int kMostRedirects = 5;

class RedirectRules {
 public:
  // Host names and networks. nullopt for text that is neither.
  static std::optional<RedirectRules> parse(const std::vector<std::string>& allowed);

  // Why this redirect is not followed, or empty.
  static std::string refusal(const http::Url& from, const http::Url& to);
  // Whether a connection for this URL may go to this address.
  bool may_connect(const http::Url& to, const std::string& address) const;

 private:
  std::vector<std::string> hosts_;  // in lower case
  std::vector<http::Network> networks_;
};

// An address of the open network (RFC 6890 and the registries it began).
bool is_global_address(const std::string& address);

}  // namespace proxy

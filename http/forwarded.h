// What a proxy in front of the registry says about the request: Forwarded (RFC 7239) and the
// X-Forwarded-* fields. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "http/network.h"

namespace http {

// The proxies whose X-Forwarded-For or Forwarded names the client (server.trusted_proxies).
struct TrustedProxies {
  std::vector<Network> networks;
  bool unix_socket = false;  // who connects to a unix socket, which has no address

  bool contain(const Peer& peer) const;
};

// The client's address: the peer's, or if the peer is a trusted proxy, the last address in
// X-Forwarded-For or in Forwarded that is not a trusted proxy's. nullopt if both are there and name
// different clients: one of them may be the client's own, and nobody knows which. Or if Forwarded
// cannot be read.
std::optional<std::string> client_address(const Request& request, const TrustedProxies& trusted);

// Whether the request says for whom it is, and is not believed: to a server that trusts a proxy too
// little, all its clients look like one.
bool is_for_another(const Request& request, const TrustedProxies& trusted);

// "https://registry.example", as the client sees this registry: the scheme and host that the first
// proxy saw, else the connection's and the Host field. Empty if no host is known or it is not fit
// for a URL; then a URL is made without it. These fields are believed from anybody, as in
// Distribution: they only ever return to whoever sent them.
std::string public_base(const Request& request);

}  // namespace http

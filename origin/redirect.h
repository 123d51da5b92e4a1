// Redirect: whether a blob is to be fetched from the edge instead. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "http/network.h"
#include "http/signed_url.h"
#include "oci/digest.h"

namespace origin {

// The section "redirect.signature": what makes a redirect a permission that only whom the origin
// let in has, and only for a while. The edge has the same keys and asks for it.
struct RedirectSignature {
  std::vector<http::SigningKey> keys;  // the first one signs
  std::chrono::seconds lifetime = std::chrono::minutes(20);
  // How many bits of the client's address must be the same when it comes to the edge.
  struct Prefix {
    unsigned ipv4 = 32;
    unsigned ipv6 = 64;
  };
  std::optional<Prefix> client;  // nullopt: good for every client
};

// The configuration's section "redirect". Who is excepted gets the blob from the origin.
struct RedirectConfig {
  std::string url;            // the edge, without a trailing slash; empty: nobody is redirected
  int status = 302;           // or 307
  uint64_t direct_below = 0;  // smaller blobs are not worth a redirect

  std::vector<std::string> via;           // a part of the Via field, in any letter case
  std::vector<std::string> hosts;         // the Host field without its port
  std::vector<http::Network> networks;    // Request::client, the client's address
  std::vector<std::string> certificates;  // a client certificate's subject, one attribute of it
                                          // ("CN=edge-1"), or a subjectAltName (see
                                          // http::alternative_name)
  std::string bearer;                     // the token in Authorization: Bearer

  std::optional<RedirectSignature> signature;
};

// The URL to send the client to, or nullopt to serve the blob here. Only a GET is ever redirected:
// clients take the answer to a HEAD for the registry's own. The query is kept, unless it has a
// signature already. `now` is Unix time. A client whose address is not known gets no signature that
// is only for its address, but the blob.
std::optional<std::string> redirect_url(const RedirectConfig& config, const http::Request& request,
                                        const std::string& repository, const oci::Digest& digest,
                                        uint64_t size, int64_t now);

}  // namespace origin

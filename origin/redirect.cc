#include "origin/redirect.h"

#include <algorithm>
#include <string_view>

#include "http/credentials.h"
#include "http/request_target.h"

namespace origin {
namespace {

bool contains_ignoring_case(std::string_view text, std::string_view part) {
  for (size_t i = 0; i + part.size() <= text.size(); ++i) {
    if (http::iequals(text.substr(i, part.size()), part)) return true;
  }
  return false;
}

bool certificate_matches(const http::Peer& peer, const std::string& name) {
  return http::subject_matches(peer, name) || http::alternative_name_matches(peer, name);
}

bool excepted(const RedirectConfig& config, const http::Request& request) {
  const std::string via = request.headers.joined("Via");
  const std::string_view host = http::without_port(request.headers.get("Host").value_or(""));
  return std::ranges::any_of(config.via,
                             [&](auto& part) { return contains_ignoring_case(via, part); }) ||
         std::ranges::any_of(config.hosts, [&](auto& name) { return http::iequals(host, name); }) ||
         std::ranges::any_of(config.certificates,
                             [&](auto& name) { return certificate_matches(request.peer, name); }) ||
         http::contains_address(config.networks, request.client) ||
         http::shows_secret(request, config.bearer);
}

// The query that permits the path to this client; nullopt if its address must be known and is not.
std::optional<std::string> signed_query(const RedirectSignature& signature,
                                        const http::Request& request, const std::string& path,
                                        int64_t now) {
  std::optional<http::Network> network;
  if (const auto& prefix = signature.client) {
    network = http::Network::around(request.client, prefix->ipv4, prefix->ipv6);
    if (!network) return std::nullopt;
  }
  // Of two signatures the edge would take none.
  const bool another = http::has_signature(request);
  std::string query = another || request.query.empty() ? "" : request.query + '&';
  return query +
         http::sign_path(signature.keys.front(), path, now + signature.lifetime.count(), network);
}

}  // namespace

std::optional<std::string> redirect_url(const RedirectConfig& config, const http::Request& request,
                                        const std::string& repository, const oci::Digest& digest,
                                        uint64_t size, int64_t now) {
  if (config.url.empty() || !request.is("GET") || size < config.direct_below) return std::nullopt;
  if (excepted(config, request)) return std::nullopt;
  const std::string path = "/v2/" + repository + "/blobs/" + digest.str();
  std::optional<std::string> query = request.query;
  if (config.signature) query = signed_query(*config.signature, request, path, now);
  if (!query) return std::nullopt;
  return config.url + path + (query->empty() ? "" : '?' + *query);
}

}  // namespace origin

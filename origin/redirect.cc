#include "origin/redirect.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <string_view>

namespace origin {
namespace {

bool contains_ignoring_case(std::string_view text, std::string_view part) {
  for (size_t i = 0; i + part.size() <= text.size(); ++i) {
    if (http::iequals(text.substr(i, part.size()), part)) return true;
  }
  return false;
}

std::string_view without_port(std::string_view host) {
  const size_t colon = host.rfind(':');
  const bool in_brackets = colon != std::string_view::npos && host.find(']', colon) != host.npos;
  return in_brackets ? host : host.substr(0, colon);
}

// Whether the subject (RFC 2253) or one of its attributes is `name`.
bool subject_has(std::string_view subject, std::string_view name) {
  if (subject == name) return true;
  while (!subject.empty()) {
    size_t end = 0;
    while (end < subject.size() && subject[end] != ',') end += subject[end] == '\\' ? 2 : 1;
    end = std::min(end, subject.size());
    if (subject.substr(0, end) == name) return true;
    subject.remove_prefix(std::min(end + 1, subject.size()));
  }
  return false;
}

bool certificate_matches(const http::Peer& peer, const std::string& name) {
  return subject_has(peer.certificate_subject, name) ||
         std::ranges::find(peer.certificate_names, name) != peer.certificate_names.end();
}

bool bearer_matches(const http::Request& request, std::string_view bearer) {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view given = request.headers.get("Authorization").value_or("");
  if (bearer.empty() || !http::iequals(given.substr(0, kScheme.size()), kScheme)) return false;
  const std::string_view token = given.substr(kScheme.size());
  return token.size() == bearer.size() &&
         CRYPTO_memcmp(token.data(), bearer.data(), bearer.size()) == 0;
}

bool excepted(const RedirectConfig& config, const http::Request& request) {
  const std::string via = request.headers.joined("Via");
  const std::string_view host = without_port(request.headers.get("Host").value_or(""));
  return std::ranges::any_of(config.via,
                             [&](auto& part) { return contains_ignoring_case(via, part); }) ||
         std::ranges::any_of(config.hosts, [&](auto& name) { return http::iequals(host, name); }) ||
         std::ranges::any_of(config.certificates,
                             [&](auto& name) { return certificate_matches(request.peer, name); }) ||
         contains_address(config.networks, request.client) ||
         bearer_matches(request, config.bearer);
}

}  // namespace

std::optional<std::string> redirect_url(const RedirectConfig& config, const http::Request& request,
                                        const std::string& repository, const oci::Digest& digest,
                                        uint64_t size) {
  if (config.url.empty() || !request.is("GET") || size < config.direct_below) return std::nullopt;
  if (excepted(config, request)) return std::nullopt;
  std::string url = config.url + "/v2/" + repository + "/blobs/" + digest.str();
  if (!request.query.empty()) url += '?' + request.query;
  return url;
}

}  // namespace origin

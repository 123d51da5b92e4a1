#include "proxy/token_request.h"

#include <libpsl.h>
#include <simdjson.h>

#include <algorithm>

#include "http/message.h"

namespace proxy {
namespace {

// The specification's, if the answer names none; and what a token is believed to live at most.
constexpr int64_t kLifetime = 60;
constexpr int64_t kLongest = int64_t{24} * 3600;
constexpr int64_t kSlack = 10;

bool is_local(const std::string& host) {
  return host == "localhost" || host.ends_with(".localhost");
}

std::string_view registrable_domain(const std::string& host) {
  const char* domain = psl_registrable_domain(psl_builtin(), host.c_str());
  return domain == nullptr ? std::string_view() : domain;
}

// RFC 6750 §2.1, b64token; whatever else is printable does no harm.
bool sendable(std::string_view token) {
  return !token.empty() && std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::optional<TokenRequest> token_request(const http::Challenge& challenge,
                                          const http::Url& upstream, const std::string& scope) {
  const std::optional<http::Url> realm = http::parse_url(challenge.parameter("realm").value_or(""));
  if (!realm || (upstream.scheme == "https" && realm->scheme != "https")) return std::nullopt;
  TokenRequest request{*realm, realm->text};
  const auto add = [&request](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    request.url += request.url.contains('?') ? '&' : '?';
    request.url.append(name).append("=").append(http::percent_encode(value));
  };
  add("service", challenge.parameter("service").value_or(""));
  add("scope", scope);
  return request;
}

bool may_have_credentials(const http::Url& realm, const http::Url& upstream,
                          const std::vector<std::string>& listed) {
  if (upstream.scheme == "https" && realm.scheme != "https") return false;
  if (realm.host == upstream.host) return true;
  const auto same = [&realm](const std::string& host) { return http::iequals(host, realm.host); };
  if (std::ranges::any_of(listed, same)) return true;
  if (realm.is_address() || upstream.is_address() || is_local(realm.host)) return false;
  const std::string_view domain = registrable_domain(realm.host);
  return !domain.empty() && domain == registrable_domain(upstream.host);
}

std::optional<Token> parse_token(std::string_view json) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (parser.parse(simdjson::padded_string(json)).get(root) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  std::string_view text;
  if (root["token"].get(text) != simdjson::SUCCESS || text.empty()) {
    if (root["access_token"].get(text) != simdjson::SUCCESS) return std::nullopt;
  }
  if (!sendable(text)) return std::nullopt;
  int64_t lifetime = kLifetime;
  if (root["expires_in"].get(lifetime) != simdjson::SUCCESS || lifetime <= 0) lifetime = kLifetime;
  lifetime = std::min(lifetime, kLongest);
  lifetime -= std::min(kSlack, lifetime / 4);
  return Token{std::string(text), std::chrono::seconds(lifetime)};
}

}  // namespace proxy

#include "http/credentials.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "base/ascii.h"
#include "base/base64.h"
#include "http/network.h"

namespace http {
namespace {

// What follows the scheme in Authorization, if it is this scheme.
std::optional<std::string_view> credentials_of(const Request& request, std::string_view scheme) {
  std::string_view field = request.headers.get("Authorization").value_or("");
  if (field.size() <= scheme.size() || field[scheme.size()] != ' ' ||
      !iequals(field.substr(0, scheme.size()), scheme)) {
    return std::nullopt;
  }
  field.remove_prefix(scheme.size());
  field.remove_prefix(std::min(field.find_first_not_of(' '), field.size()));
  return field;
}

}  // namespace

bool has_authorization(const Request& request) { return request.headers.has("Authorization"); }

std::optional<UserPassword> basic_credentials(const Request& request) {
  const auto encoded = credentials_of(request, "Basic");
  const auto text = encoded ? base::decode_base64(*encoded, base::Base64::standard) : std::nullopt;
  if (!text || std::ranges::any_of(*text, base::is_control)) return std::nullopt;
  const size_t colon = text->find(':');
  if (colon == std::string::npos) return std::nullopt;
  return UserPassword{text->substr(0, colon), text->substr(colon + 1)};
}

std::optional<std::string_view> bearer_token(const Request& request) {
  return credentials_of(request, "Bearer");
}

bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool shows_secret(const Request& request, std::string_view secret) {
  const auto token = bearer_token(request);
  return token && !secret.empty() && same_secret(*token, secret);
}

bool subject_matches(const Peer& peer, std::string_view name) {
  std::string_view subject = peer.certificate_subject;
  if (subject.empty() || name.empty()) return false;
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

std::optional<std::string> alternative_name(std::string_view written) {
  const size_t colon = written.find(':');
  if (colon == written.npos) return "DNS:" + std::string(written);
  const std::string_view kind = written.substr(0, colon);
  const std::string_view name = written.substr(colon + 1);
  if (kind == "DNS" || kind == "email" || kind == "URI") return std::string(written);
  const auto address = kind == "IP" ? canonical_address(std::string(name)) : std::nullopt;
  return address ? std::optional("IP:" + *address) : std::nullopt;
}

bool alternative_name_matches(const Peer& peer, std::string_view written) {
  if (written.empty() || peer.certificate_names.empty()) return false;
  const std::optional<std::string> name = alternative_name(written);
  return name && std::ranges::find(peer.certificate_names, *name) != peer.certificate_names.end();
}

}  // namespace http

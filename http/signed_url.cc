#include "http/signed_url.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <vector>

#include "base/base64.h"
#include "base/error.h"
#include "http/credentials.h"

namespace http {
namespace {

constexpr char kSeparator = '~';
constexpr size_t kMacSize = 32;
constexpr std::string_view kEveryClient = "-";

// The fields of a parameter's value, as they are given.
struct Permission {
  std::string_view key_id;
  std::string_view expires;
  std::string_view network;
};

std::string mac_of(const SigningKey& key, const Permission& permission, std::string_view path) {
  std::string text = "entrepot-signature-1\nGET\n";
  for (const std::string_view field : {permission.key_id, permission.expires, permission.network}) {
    text.append(field) += '\n';
  }
  text += path;
  std::string mac(kMacSize, '\0');
  unsigned size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  if (::HMAC(EVP_sha256(), key.secret.data(), static_cast<int>(key.secret.size()), data,
             text.size(), reinterpret_cast<unsigned char*>(mac.data()), &size) == nullptr) {
    throw base::IoError(EIO, "HMAC");
  }
  return mac;
}

std::optional<int64_t> parse_time(std::string_view text) {
  // No sign, and never near the end of the type, whatever is added to it.
  constexpr size_t kMostDigits = 15;
  if (text.size() > kMostDigits || text.find_first_not_of("0123456789") != text.npos) {
    return std::nullopt;
  }
  int64_t time = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), time);
  if (error != std::errc()) return std::nullopt;
  return time;
}

// The length of the parameter's name at the beginning of the text, escaped or not; 0 if something
// else is there.
size_t name_length(std::string_view text) {
  size_t length = 0;
  for (const char wanted : kSignatureParameter) {
    const std::string_view rest = text.substr(length);
    const std::string_view one = rest.substr(0, rest.starts_with('%') ? 3 : 1);
    if (percent_decode(one) != std::string_view(&wanted, 1)) return 0;
    length += one.size();
  }
  return length;
}

}  // namespace

bool valid_key_id(std::string_view id) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !id.empty() && id.size() <= 64 && id.find_first_not_of(kAllowed) == id.npos;
}

std::string sign_path(const SigningKey& key, std::string_view path, int64_t expires,
                      const std::optional<Network>& network) {
  const std::string time = std::to_string(expires);
  const std::string clients = network ? network->str() : std::string(kEveryClient);
  const std::string mac = mac_of(key, {key.id, time, clients}, path);
  std::string parameter(kSignatureParameter);
  parameter.append("=").append(key.id) += kSeparator;
  parameter.append(time) += kSeparator;
  parameter.append(clients) += kSeparator;
  return parameter + base::encode_base64(mac, base::Base64::url);
}

bool has_signature(const Request& request) {
  return request.query_value(kSignatureParameter).has_value();
}

SignatureVerdict verify_signature(std::span<const SigningKey> keys, const Request& request,
                                  const std::string& client, int64_t now) {
  const std::vector<std::string> values = request.query_values(kSignatureParameter);
  if (values.empty()) return SignatureVerdict::missing;
  if (values.size() > 1) return SignatureVerdict::malformed;

  std::string_view mac = values.front();
  std::array<std::string_view, 3> fields;
  for (std::string_view& field : fields) {
    const size_t end = mac.find(kSeparator);
    if (end == mac.npos) return SignatureVerdict::malformed;
    field = mac.substr(0, end);
    mac.remove_prefix(end + 1);
  }
  const auto& [key_id, expires, network] = fields;
  const std::optional<int64_t> expiry = parse_time(expires);
  const auto clients = Network::parse(std::string(network));
  const bool network_valid = clients ? clients->str() == network : network == kEveryClient;
  const auto bytes = base::decode_base64(mac, base::Base64::url);
  if (!valid_key_id(key_id) || !expiry || !network_valid || !bytes || bytes->size() != kMacSize) {
    return SignatureVerdict::malformed;
  }

  const auto key = std::ranges::find(keys, key_id, &SigningKey::id);
  if (key == keys.end()) return SignatureVerdict::unknown_key;
  const std::string right = mac_of(*key, {key_id, expires, network}, request.path);
  if (!same_secret(right, *bytes)) return SignatureVerdict::wrong;
  if (now >= *expiry) return SignatureVerdict::expired;
  if (clients && !clients->contains(client)) return SignatureVerdict::other_client;
  return SignatureVerdict::good;
}

std::string hide_signature(std::string_view text) {
  if (text.find(kSignatureParameter) == text.npos && text.find('%') == text.npos) {
    return std::string(text);
  }
  std::string shown;
  size_t at = 0;
  while (at < text.size()) {
    const bool may_begin = text[at] == kSignatureParameter[0] || text[at] == '%';
    const size_t name = may_begin ? name_length(text.substr(at)) : 0;
    if (name == 0) {
      shown += text[at++];
    } else {
      shown.append(text.substr(at, name)).append("=***");
      at = std::min(text.find('&', at + name), text.size());
    }
  }
  return shown;
}

}  // namespace http

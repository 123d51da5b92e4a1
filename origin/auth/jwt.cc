#include "origin/auth/jwt.h"

#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/base64.h"

namespace origin::auth {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr size_t kMaxToken = 16 << 10;
constexpr size_t kMaxDepth = 8;
constexpr size_t kMaxCertificates = 8;

// Thrown within this file only.
struct Malformed {
  std::string why;
};

// No member twice: parsers differ in which of them they take.
object unique(element value, const std::string& what) {
  object members;
  if (value.get(members)) throw Malformed{what + " is not a JSON object"};
  std::unordered_set<std::string_view> seen;
  for (const auto member : members) {
    if (!seen.insert(member.key).second) throw Malformed{what + " has a member twice"};
  }
  return members;
}

std::optional<element> member(object from, const char* name) {
  element value;
  if (from.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

std::string text(object from, const char* name) {
  const auto value = member(from, name);
  std::string_view out;
  if (value && value->get(out)) throw Malformed{std::string(name) + " is not a string"};
  return std::string(out);
}

std::vector<std::string> texts(object from, const char* name) {
  const auto value = member(from, name);
  std::vector<std::string> out;
  if (!value) return out;
  array items;
  if (value->get(items)) throw Malformed{std::string(name) + " is not a list"};
  for (const element item : items) {
    std::string_view string;
    if (item.get(string)) throw Malformed{std::string(name) + " has what is not a string"};
    out.emplace_back(string);
  }
  return out;
}

// NumericDate (RFC 7519 §2): seconds, maybe with a fraction.
std::optional<int64_t> date(object from, const char* name) {
  const auto value = member(from, name);
  if (!value) return std::nullopt;
  double seconds = 0;
  constexpr double kFarAway = 1e15;
  if (value->get(seconds) || !(std::abs(seconds) < kFarAway)) {
    throw Malformed{std::string(name) + " is not a date"};
  }
  return static_cast<int64_t>(std::floor(seconds));
}

Jwk read_jwk(element value) {
  const object from = unique(value, "a key");
  Jwk key;
  key.kty = text(from, "kty");
  key.kid = text(from, "kid");
  key.alg = text(from, "alg");
  key.use = text(from, "use");
  key.crv = text(from, "crv");
  key.n = text(from, "n");
  key.e = text(from, "e");
  key.x = text(from, "x");
  key.y = text(from, "y");
  key.x5c = texts(from, "x5c");
  if (key.x5c.size() > kMaxCertificates) throw Malformed{"too many certificates"};
  return key;
}

void read_header(element value, Jwt& jwt) {
  const object header = unique(value, "the header");
  // What it lists must be understood (RFC 7515 §4.1.11), and we understand none of it.
  if (element ignored; !header.at_key("crit").get(ignored))
    throw Malformed{"crit is not supported"};
  jwt.algorithm = text(header, "alg");
  jwt.key_id = text(header, "kid");
  jwt.certificates = texts(header, "x5c");
  if (jwt.certificates.size() > kMaxCertificates) throw Malformed{"too many certificates"};
  if (const auto key = member(header, "jwk")) jwt.key = read_jwk(*key);
}

std::vector<std::string> read_audience(object claims) {
  const auto value = member(claims, "aud");
  std::string_view one;
  if (value && !value->get(one)) return {std::string(one)};
  return texts(claims, "aud");
}

void read_claims(element value, Jwt& jwt) {
  const object claims = unique(value, "the claims set");
  jwt.issuer = text(claims, "iss");
  jwt.subject = text(claims, "sub");
  jwt.audience = read_audience(claims);
  jwt.expires = date(claims, "exp");
  jwt.not_before = date(claims, "nbf");
  const auto access = member(claims, "access");
  array items;
  if (!access) return;
  if (access->get(items)) throw Malformed{"access is not a list"};
  for (const element item : items) {
    const object grant = unique(item, "an entry of access");
    jwt.access.push_back({text(grant, "type"), text(grant, "name"), texts(grant, "actions")});
  }
}

element parse(simdjson::dom::parser& parser, std::string_view json, const std::string& what) {
  element value;
  if (parser.allocate(json.size(), kMaxDepth) ||
      parser.parse(simdjson::padded_string(json)).get(value)) {
    throw Malformed{what + " is not JSON"};
  }
  return value;
}

std::string decode(std::string_view part) {
  auto bytes = base::decode_base64(part, base::Base64::url);
  if (!bytes) throw Malformed{"it is not base64url"};
  return std::move(*bytes);
}

}  // namespace

std::expected<Jwt, std::string> parse_jwt(std::string_view token) {
  const size_t first = token.find('.');
  const size_t second = first == std::string_view::npos ? first : token.find('.', first + 1);
  if (token.size() > kMaxToken || second == std::string_view::npos ||
      token.find('.', second + 1) != std::string_view::npos) {
    return std::unexpected("it does not have the form of a signed token");
  }
  try {
    Jwt jwt;
    simdjson::dom::parser parser;
    const std::string header = decode(token.substr(0, first));
    const std::string claims = decode(token.substr(first + 1, second - first - 1));
    read_header(parse(parser, header, "the header"), jwt);
    read_claims(parse(parser, claims, "the claims set"), jwt);
    jwt.signature = decode(token.substr(second + 1));
    jwt.signed_text = token.substr(0, second);
    return jwt;
  } catch (const Malformed& e) {
    return std::unexpected(e.why);
  }
}

std::expected<std::vector<Jwk>, std::string> parse_jwk_set(std::string_view json) {
  try {
    simdjson::dom::parser parser;
    const object set = unique(parse(parser, json, "the key set"), "the key set");
    const auto list = member(set, "keys");
    array keys;
    if (!list || list->get(keys)) throw Malformed{R"(there is no list "keys")"};
    std::vector<Jwk> out;
    for (const element key : keys) out.push_back(read_jwk(key));
    return out;
  } catch (const Malformed& e) {
    return std::unexpected(e.why);
  }
}

}  // namespace origin::auth

// Signed URLs: an expiring permission to GET one path, put into the URL's query by who holds a key,
// and checked by who holds the same key, without asking anybody. Pure.
//
//   entrepot-signature=<key id>~<expires>~<network>~<mac>
//
//   expires  Unix time in seconds, the first at which the URL is no longer good
//   network  of the client, in CIDR notation; "-": good for every client
//   mac      base64url, without padding, of HMAC-SHA256 (RFC 2104) by the key's secret of the text
//            "entrepot-signature-1" LF "GET" LF <key id> LF <expires> LF <network> LF <path>
//
// No field before the path can have an LF in it, so no two permissions have the same text. The path
// is the decoded one: URLs that lead to one path are one URL here. What else is in the query is not
// signed and must not matter.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/message.h"
#include "http/network.h"

namespace http {

inline constexpr std::string_view kSignatureParameter = "entrepot-signature";

struct SigningKey {
  std::string id;      // valid_key_id
  std::string secret;  // made of 32 random bytes, at best
  bool operator==(const SigningKey&) const = default;
};

// 1 to 64 letters, digits and "-_.".
bool valid_key_id(std::string_view id);

// The parameter that permits GET of this path until then, to clients of this network if there is
// one. It can be put into a query as it is.
std::string sign_path(const SigningKey& key, std::string_view path, int64_t expires,
                      const std::optional<Network>& network);

enum class SignatureVerdict {
  good,
  missing,
  malformed,     // also: more than one
  unknown_key,   // none of the keys has this id
  wrong,         // another path, or any part was changed, or made with another secret
  expired,       // right, but no longer
  other_client,  // right, but for clients of another network
};

// True if the request shows a signature, good or not.
bool has_signature(const Request& request);

// What the request's signature says about a GET of its path by the client with this address at this
// time. It is good for HEAD as well, which tells less; whether the method is one of them is for the
// caller to see. Takes as long for any mac.
SignatureVerdict verify_signature(std::span<const SigningKey> keys, const Request& request,
                                  const std::string& client, int64_t now);

// The same text without what a signature in it says, so that whoever reads a log cannot use it:
// wherever in a URL it stands, and however its name is escaped.
std::string hide_signature(std::string_view text);

}  // namespace http

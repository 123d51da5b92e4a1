// Url: an absolute http or https URL, taken apart by the parser of the client that requests it
// (RFC 3986). A value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace http {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // in lower case, an IPv6 address in brackets
  uint16_t port = 0;   // the scheme's own if the URL has none
  std::string text;    // the whole URL as it is requested, without a fragment

  // "https://registry.example:443": where credentials may go.
  std::string origin() const { return scheme + "://" + host + ':' + std::to_string(port); }
  // The host is an address; without brackets it is `address()`.
  bool is_address() const;
  std::string address() const;
};

// nullopt for other schemes, for URLs with a user in them, and for what is no URL.
std::optional<Url> parse_url(std::string_view text);
// A Location, which may be relative to the URL that it came from.
std::optional<Url> resolve_url(const Url& base, std::string_view location);

}  // namespace http

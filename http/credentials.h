// What a request shows about who sent it: Authorization (RFC 9110 §11.6.2) and the client
// certificate. Says what is there, not whether it is good. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace http {

struct UserPassword {
  std::string user;
  std::string password;
};

bool has_authorization(const Request& request);
// Basic (RFC 7617); nullopt if it is something else, malformed, or has a control character, which
// no user and no password of a file has (a NUL would even cut the password short).
std::optional<UserPassword> basic_credentials(const Request& request);
// Bearer (RFC 6750 §2.1); nullopt if it is something else.
std::optional<std::string_view> bearer_token(const Request& request);
// Whether the two are the same. Takes as long wherever they differ.
bool same_secret(std::string_view a, std::string_view b);
// Whether the token is this secret, which must not be empty.
bool shows_secret(const Request& request, std::string_view secret);

// Whether the certificate's subject (RFC 2253) or one of its attributes, as in "CN=edge-1", is
// `name`.
bool subject_matches(const Peer& peer, std::string_view name);

// A subjectAltName that a person wrote, as Peer::certificate_names has it: "email:…", "URI:…",
// "IP:…" and "DNS:…" say what it is, and what has no colon is a DNS name. nullopt if it is none of
// these.
std::optional<std::string> alternative_name(std::string_view written);
// Whether the certificate has the subjectAltName that is written so.
bool alternative_name_matches(const Peer& peer, std::string_view written);

}  // namespace http

// Base64 (RFC 4648 §4) and base64url (§5). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace base {

enum class Base64 {
  standard,    // with padding
  url,         // without padding, as in JOSE (RFC 7515 §2)
  url_padded,  // with padding, as in Go's URLEncoding
};

std::string encode_base64(std::string_view bytes, Base64 kind);

// nullopt unless the text is exactly what encoding the bytes gives: no other characters, the
// padding of the kind, unused bits 0.
std::optional<std::string> decode_base64(std::string_view text, Base64 kind);

}  // namespace base

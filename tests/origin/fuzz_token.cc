// Whatever a token holds: what is taken from it is what it says, in the one way it can be said.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/base64.h"
#include "origin/auth/jwt.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto jwt = origin::auth::parse_jwt(text)) {
    const std::string signature = base::encode_base64(jwt->signature, base::Base64::url);
    require(jwt->signed_text + '.' + signature == text);
    if (jwt->key) origin::auth::PublicKey::from_jwk(*jwt->key);
  } else {
    require(!jwt.error().empty());
  }
  if (const auto keys = origin::auth::parse_jwk_set(text)) {
    for (const origin::auth::Jwk& jwk : *keys) {
      const auto key = origin::auth::PublicKey::from_jwk(jwk);
      if (key) require(key->thumbprint().size() == 43 && key->libtrust_id().size() == 59);
    }
  }
  return 0;
}

// PublicKey: a key that signatures of tokens are verified with, by OpenSSL. RSA of at least 2048
// bits, EC on P-256, P-384 or P-521, and Ed25519. An immutable value; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct evp_pkey_st;

namespace origin::auth {

// The members of a JSON Web Key (RFC 7517, 7518 §6, 8037 §2) that matter here, as they are.
struct Jwk {
  std::string kty;
  std::string kid;
  std::string alg;
  std::string use;
  std::string crv, n, e, x, y;
  std::vector<std::string> x5c;  // Base64 of DER, the key's own first
};

class PublicKey {
 public:
  // nullopt for keys of other kinds, and for what is malformed.
  static std::optional<PublicKey> from_jwk(const Jwk& jwk);
  // Takes a reference.
  static std::optional<PublicKey> from_openssl(evp_pkey_st* key);

  // The JWK's SHA-256 thumbprint (RFC 7638) as base64url: the key's id in Distribution 3.
  std::string thumbprint() const;
  // libtrust's, "ABCD:EFGH:…": the key's id in Distribution 2.
  std::string libtrust_id() const;

  // Whether the signature of the JWS algorithm (RFC 7518 §3, 8037 §3.1) is this key's. False for an
  // algorithm that this kind of key, or this curve, is not for.
  bool verifies(std::string_view algorithm, std::string_view text,
                std::string_view signature) const;

 private:
  explicit PublicKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

// Every algorithm there is: RS256 … RS512, PS256 … PS512, ES256 … ES512, EdDSA. Never HS*, whose
// key would be a public one, and never "none".
const std::vector<std::string>& signing_algorithms();

}  // namespace origin::auth

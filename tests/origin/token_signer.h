// A token server's key: signs tokens, and shows its public half in the forms there are.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

namespace origin {

// Without padding.
std::string base64url(std::string_view bytes);

class TokenSigner {
 public:
  // "RSA", "P-256", "P-384", "P-521" or "Ed25519".
  explicit TokenSigner(const std::string& kind);

  // A compact token of these header and claims, whatever they are, signed by the algorithm.
  std::string token(const std::string& algorithm, const std::string& header,
                    const std::string& claims) const;
  // {"alg":…,"kid":…} as header.
  std::string token(const std::string& algorithm, const std::string& claims) const;

  std::string jwk(const std::string& more = "") const;  // the public key as a JSON object
  std::string pem() const;                              // a self-signed certificate
  std::string x5c() const;                              // the same as Base64 of DER
  // A certificate of another's key, issued by this one, as Base64 of DER.
  std::string certify(const TokenSigner& other) const;
  std::string public_pem() const;
  std::string kid = "test-key";

 private:
  std::shared_ptr<X509> certificate(EVP_PKEY* key, const std::string& name, bool authority) const;

  std::string kind_;
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;  // self-signed
};

}  // namespace origin

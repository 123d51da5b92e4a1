#include "origin/auth/trusted_keys.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <stdexcept>

#include "base/base64.h"
#include "base/durable_file.h"
#include "origin/auth/openssl_owned.h"

namespace origin::auth {
namespace {

constexpr uint64_t kMaxKeyFile = 16 << 20;

std::string read(const std::filesystem::path& path) {
  auto text = base::read_file(path, kMaxKeyFile);
  if (!text) throw std::runtime_error("there is no such file");
  return std::move(*text);
}

Owned<X509> certificate(const std::string& base64) {
  const auto der = base::decode_base64(base64, base::Base64::standard);
  if (!der) return nullptr;
  const auto* data = reinterpret_cast<const unsigned char*>(der->data());
  Owned<X509> parsed(d2i_X509(nullptr, &data, static_cast<long>(der->size())));
  const bool whole = data == reinterpret_cast<const unsigned char*>(der->data() + der->size());
  return whole ? std::move(parsed) : nullptr;
}

}  // namespace

TrustedKeys::TrustedKeys() : authorities_(X509_STORE_new(), X509_STORE_free) {}

void TrustedKeys::add_certificates(const std::filesystem::path& pem) {
  const std::string text = read(pem);
  const Owned<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  size_t count = 0;
  while (const Owned<X509> parsed{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    ++count;
    X509_STORE_add_cert(authorities_.get(), parsed.get());
    const auto key = PublicKey::from_openssl(X509_get0_pubkey(parsed.get()));
    if (!key) {
      throw std::runtime_error("certificate " + std::to_string(count) +
                               " has a key that is not RSA of 2048 bits or more, EC or Ed25519");
    }
    keys_.insert_or_assign(key->thumbprint(), Entry{*key, ""});
    keys_.insert_or_assign(key->libtrust_id(), Entry{*key, ""});
  }
  if (count == 0) throw std::runtime_error("there is no PEM certificate in it");
}

void TrustedKeys::add_key_set(const std::filesystem::path& json) {
  const auto set = parse_jwk_set(read(json));
  if (!set) throw std::runtime_error(set.error());
  size_t usable = 0;
  for (const Jwk& jwk : *set) {
    if (jwk.kty == "oct") {
      throw std::runtime_error(
          "it has a symmetric key (kty oct), with which anybody who verifies "
          "tokens could sign them too");
    }
    if (!jwk.use.empty() && jwk.use != "sig") continue;
    const auto key = PublicKey::from_jwk(jwk);
    if (!key) {
      throw std::runtime_error(
          "a key is not RSA of 2048 bits or more, EC on P-256, P-384 or P-521, "
          "or Ed25519");
    }
    ++usable;
    keys_.insert_or_assign(key->thumbprint(), Entry{*key, jwk.alg});
    if (!jwk.kid.empty()) keys_.insert_or_assign(jwk.kid, Entry{*key, jwk.alg});
  }
  if (usable == 0) throw std::runtime_error("there is no key for signatures in it");
}

std::optional<PublicKey> TrustedKeys::find(const std::string& id,
                                           const std::string& algorithm) const {
  const auto entry = keys_.find(id);
  if (entry == keys_.end()) return std::nullopt;
  if (!entry->second.algorithm.empty() && entry->second.algorithm != algorithm) return std::nullopt;
  return entry->second.key;
}

// The key of the chain's first certificate, if the chain leads to a trusted one.
std::optional<PublicKey> TrustedKeys::leaf_of(const std::vector<std::string>& chain,
                                              std::chrono::system_clock::time_point now) const {
  const Owned<STACK_OF(X509)> others(sk_X509_new_null());
  Owned<X509> leaf;
  for (const std::string& text : chain) {
    Owned<X509> parsed = certificate(text);
    if (!parsed) return std::nullopt;
    if (!leaf) {
      leaf = std::move(parsed);
    } else {
      sk_X509_push(others.get(), parsed.release());
    }
  }
  const Owned<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (!leaf || !context ||
      X509_STORE_CTX_init(context.get(), authorities_.get(), leaf.get(), others.get()) != 1) {
    return std::nullopt;
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, std::chrono::system_clock::to_time_t(now));
  // Every certificate of the bundle is trusted, also one that is no root.
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_ANY);
  if (X509_verify_cert(context.get()) != 1) return std::nullopt;
  return PublicKey::from_openssl(X509_get0_pubkey(leaf.get()));
}

std::optional<PublicKey> TrustedKeys::signer(const Jwt& jwt,
                                             std::chrono::system_clock::time_point now) const {
  if (!jwt.certificates.empty()) return leaf_of(jwt.certificates, now);
  if (!jwt.key) return find(jwt.key_id, jwt.algorithm);
  const auto key = PublicKey::from_jwk(*jwt.key);
  if (!key) return std::nullopt;
  if (jwt.key->x5c.empty()) return find(key->thumbprint(), jwt.algorithm);
  const auto leaf = leaf_of(jwt.key->x5c, now);
  return leaf && leaf->thumbprint() == key->thumbprint() ? leaf : std::nullopt;
}

}  // namespace origin::auth

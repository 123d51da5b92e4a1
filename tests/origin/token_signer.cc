#include "tests/origin/token_signer.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <stdexcept>
#include <vector>

#include "base/base64.h"

namespace origin {
namespace {

size_t coordinate_bytes(const std::string& kind) {
  return kind == "P-256" ? 32 : kind == "P-384" ? 48 : 66;
}

std::string number(const EVP_PKEY* key, const char* name, size_t width) {
  BIGNUM* value = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &value) != 1) throw std::runtime_error(name);
  std::string bytes(std::max(width, static_cast<size_t>(BN_num_bytes(value))), '\0');
  BN_bn2binpad(value, reinterpret_cast<unsigned char*>(bytes.data()),
               static_cast<int>(bytes.size()));
  BN_free(value);
  return bytes;
}

// OpenSSL's DER as JOSE's r || s.
std::string raw_signature(const std::string& der, size_t width) {
  const auto* data = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* parsed = d2i_ECDSA_SIG(nullptr, &data, static_cast<long>(der.size()));
  std::string out(2 * width, '\0');
  auto* bytes = reinterpret_cast<unsigned char*>(out.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(parsed), bytes, static_cast<int>(width));
  BN_bn2binpad(ECDSA_SIG_get0_s(parsed), bytes + width, static_cast<int>(width));
  ECDSA_SIG_free(parsed);
  return out;
}

const EVP_MD* digest_of(const std::string& algorithm) {
  if (algorithm == "EdDSA") return nullptr;
  if (algorithm.ends_with("384")) return EVP_sha384();
  return algorithm.ends_with("512") ? EVP_sha512() : EVP_sha256();
}

std::string written(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<size_t>(size));
  BIO_free(bio);
  return out;
}

std::string base64_der(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  i2d_X509_bio(bio, certificate);
  return base::encode_base64(written(bio), base::Base64::standard);
}

}  // namespace

std::string base64url(std::string_view bytes) {
  return base::encode_base64(bytes, base::Base64::url);
}

TokenSigner::TokenSigner(const std::string& kind) : kind_(kind) {
  EVP_PKEY* key = kind == "RSA"       ? EVP_RSA_gen(2048)
                  : kind == "Ed25519" ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")
                                      : EVP_EC_gen(kind.c_str());
  if (key == nullptr) throw std::runtime_error("no key of kind " + kind);
  key_.reset(key, EVP_PKEY_free);
  certificate_ = certificate(key, "signer", true);
}

std::string TokenSigner::token(const std::string& algorithm, const std::string& header,
                               const std::string& claims) const {
  const std::string text = base64url(header) + '.' + base64url(claims);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* options = nullptr;
  EVP_DigestSignInit(context, &options, digest_of(algorithm), nullptr, key_.get());
  if (algorithm.starts_with("PS")) {
    EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST);
  }
  std::string signature(1024, '\0');
  size_t size = signature.size();
  const int done =
      EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &size,
                     reinterpret_cast<const unsigned char*>(text.data()), text.size());
  EVP_MD_CTX_free(context);
  if (done != 1) throw std::runtime_error("cannot sign " + algorithm);
  signature.resize(size);
  if (algorithm.starts_with("ES")) signature = raw_signature(signature, coordinate_bytes(kind_));
  return text + '.' + base64url(signature);
}

std::string TokenSigner::token(const std::string& algorithm, const std::string& claims) const {
  return token(algorithm, R"({"typ":"JWT","alg":")" + algorithm + R"(","kid":")" + kid + "\"}",
               claims);
}

std::string TokenSigner::jwk(const std::string& more) const {
  std::string members;
  if (kind_ == "RSA") {
    members = R"("kty":"RSA","n":")" + base64url(number(key_.get(), OSSL_PKEY_PARAM_RSA_N, 0)) +
              R"(","e":")" + base64url(number(key_.get(), OSSL_PKEY_PARAM_RSA_E, 0)) + '"';
  } else if (kind_ == "Ed25519") {
    std::string raw(32, '\0');
    size_t size = raw.size();
    EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(raw.data()), &size);
    members = R"("kty":"OKP","crv":"Ed25519","x":")" + base64url(raw) + '"';
  } else {
    const size_t width = coordinate_bytes(kind_);
    members = R"("kty":"EC","crv":")" + kind_ + R"(","x":")" +
              base64url(number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, width)) + R"(","y":")" +
              base64url(number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, width)) + '"';
  }
  return "{" + members + (more.empty() ? "" : "," + more) + "}";
}

std::shared_ptr<X509> TokenSigner::certificate(EVP_PKEY* key, const std::string& name,
                                               bool authority) const {
  std::shared_ptr<X509> made(X509_new(), X509_free);
  X509_set_version(made.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), authority ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  const auto set = [](X509_NAME* out, const std::string& common_name) {
    X509_NAME_add_entry_by_txt(out, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                               0);
  };
  set(X509_get_subject_name(made.get()), name);
  X509_NAME* issuer = X509_NAME_new();
  set(issuer, "signer");
  X509_set_issuer_name(made.get(), issuer);
  X509_NAME_free(issuer);
  X509_set_pubkey(made.get(), key);
  X509_EXTENSION* constraint =
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints,
                          authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  X509_add_ext(made.get(), constraint, -1);
  X509_EXTENSION_free(constraint);
  X509_sign(made.get(), key_.get(), kind_ == "Ed25519" ? nullptr : EVP_sha256());
  return made;
}

std::string TokenSigner::pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, certificate_.get());
  return written(bio);
}

std::string TokenSigner::public_pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(bio, key_.get());
  return written(bio);
}

std::string TokenSigner::x5c() const { return base64_der(certificate_.get()); }

std::string TokenSigner::certify(const TokenSigner& other) const {
  return base64_der(certificate(other.key_.get(), "leaf", false).get());
}

}  // namespace origin

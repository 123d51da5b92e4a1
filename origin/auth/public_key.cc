#include "origin/auth/public_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <tuple>

#include "base/base64.h"
#include "origin/auth/openssl_owned.h"

namespace origin::auth {
namespace {

constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;

struct Curve {
  std::string_view jose;     // "crv"
  std::string_view openssl;  // group name
  size_t bytes;              // of a coordinate
};
constexpr std::array kCurves = std::to_array<Curve>(
    {{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}});

struct SigningAlgorithm {
  std::string_view name;
  int key;  // EVP_PKEY_…
  const EVP_MD* (*digest)();
  bool pss;
  std::string_view curve;  // of EC keys
};
constexpr std::array kAlgorithms = std::to_array<SigningAlgorithm>({
    {"RS256", EVP_PKEY_RSA, EVP_sha256, false, ""},
    {"RS384", EVP_PKEY_RSA, EVP_sha384, false, ""},
    {"RS512", EVP_PKEY_RSA, EVP_sha512, false, ""},
    {"PS256", EVP_PKEY_RSA, EVP_sha256, true, ""},
    {"PS384", EVP_PKEY_RSA, EVP_sha384, true, ""},
    {"PS512", EVP_PKEY_RSA, EVP_sha512, true, ""},
    {"ES256", EVP_PKEY_EC, EVP_sha256, false, "P-256"},
    {"ES384", EVP_PKEY_EC, EVP_sha384, false, "P-384"},
    {"ES512", EVP_PKEY_EC, EVP_sha512, false, "P-521"},
    {"EdDSA", EVP_PKEY_ED25519, nullptr, false, ""},
});

const unsigned char* data_of(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

Owned<BIGNUM> number(std::string_view bytes) {
  return Owned<BIGNUM>(BN_bin2bn(data_of(bytes), static_cast<int>(bytes.size()), nullptr));
}

std::string base64url(std::string_view bytes) {
  return base::encode_base64(bytes, base::Base64::url);
}

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
  SHA256(data_of(bytes), bytes.size(), out.data());
  return {out.begin(), out.end()};
}

// A number of the key, as big-endian bytes, at least `width` of them.
std::string key_number(const EVP_PKEY* key, const char* name, size_t width = 0) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return "";
  const Owned<BIGNUM> value(raw);
  std::string bytes(std::max(width, static_cast<size_t>(BN_num_bytes(raw))), '\0');
  BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return bytes;
}

const Curve* curve_of(const EVP_PKEY* key) {
  std::array<char, 64> name{};
  size_t size = 0;
  if (EVP_PKEY_get_group_name(key, name.data(), name.size(), &size) != 1) return nullptr;
  const auto curve =
      std::ranges::find(kCurves, std::string_view(name.data(), size), &Curve::openssl);
  return curve == kCurves.end() ? nullptr : &*curve;
}

std::shared_ptr<EVP_PKEY> make_key(const char* type, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) {
    return nullptr;
  }
  return {key, EVP_PKEY_free};
}

std::shared_ptr<EVP_PKEY> rsa_key(std::string_view modulus, std::string_view exponent) {
  const Owned<BIGNUM> n = number(modulus);
  const Owned<BIGNUM> e = number(exponent);
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (!n || !e || BN_is_zero(n.get()) || !BN_is_odd(e.get()) || BN_is_one(e.get()) ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
    return nullptr;
  }
  return make_key("RSA", builder.get());
}

std::shared_ptr<EVP_PKEY> ec_key(const Curve& curve, const std::string& x, const std::string& y) {
  if (x.size() != curve.bytes || y.size() != curve.bytes) return nullptr;
  const std::string point = '\x04' + x + y;
  const Owned<OSSL_PARAM_BLD> builder(OSSL_PARAM_BLD_new());
  if (OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME,
                                      curve.openssl.data(), curve.openssl.size()) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1) {
    return nullptr;
  }
  return make_key("EC", builder.get());
}

// JOSE's r || s, each as long as the curve's coordinates, as OpenSSL's DER; empty if it is not.
std::string der_signature(std::string_view signature, const Curve& curve) {
  if (signature.size() != 2 * curve.bytes) return "";
  const Owned<ECDSA_SIG> parsed(ECDSA_SIG_new());
  Owned<BIGNUM> r = number(signature.substr(0, curve.bytes));
  Owned<BIGNUM> s = number(signature.substr(curve.bytes));
  if (!parsed || !r || !s || ECDSA_SIG_set0(parsed.get(), r.get(), s.get()) != 1) return "";
  // They are the signature's now.
  std::ignore = r.release();
  std::ignore = s.release();
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(parsed.get(), &der);
  if (size <= 0) return "";
  std::string out(reinterpret_cast<const char*>(der), static_cast<size_t>(size));
  OPENSSL_free(der);
  return out;
}

}  // namespace

const std::vector<std::string>& signing_algorithms() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    all.reserve(kAlgorithms.size());
    for (const SigningAlgorithm& algorithm : kAlgorithms) all.emplace_back(algorithm.name);
    return all;
  }();
  return names;
}

std::optional<PublicKey> PublicKey::from_openssl(EVP_PKEY* key) {
  if (key == nullptr) return std::nullopt;
  const int type = EVP_PKEY_get_base_id(key);
  const int bits = EVP_PKEY_get_bits(key);
  const bool usable = (type == EVP_PKEY_RSA && bits >= kMinRsaBits && bits <= kMaxRsaBits) ||
                      (type == EVP_PKEY_EC && curve_of(key) != nullptr) || type == EVP_PKEY_ED25519;
  if (!usable) return std::nullopt;
  EVP_PKEY_up_ref(key);
  return PublicKey(std::shared_ptr<EVP_PKEY>(key, EVP_PKEY_free));
}

std::optional<PublicKey> PublicKey::from_jwk(const Jwk& jwk) {
  const auto bytes = [](const std::string& text) {
    return base::decode_base64(text, base::Base64::url).value_or("");
  };
  std::shared_ptr<EVP_PKEY> key;
  if (jwk.kty == "RSA") {
    key = rsa_key(bytes(jwk.n), bytes(jwk.e));
  } else if (jwk.kty == "EC") {
    const auto curve = std::ranges::find(kCurves, jwk.crv, &Curve::jose);
    if (curve != kCurves.end()) key = ec_key(*curve, bytes(jwk.x), bytes(jwk.y));
  } else if (jwk.kty == "OKP" && jwk.crv == "Ed25519") {
    const std::string x = bytes(jwk.x);
    key.reset(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, data_of(x), x.size()),
              EVP_PKEY_free);
  }
  return from_openssl(key.get());
}

std::string PublicKey::thumbprint() const {
  std::string json;
  switch (EVP_PKEY_get_base_id(key_.get())) {
    case EVP_PKEY_RSA:
      json = R"({"e":")" + base64url(key_number(key_.get(), OSSL_PKEY_PARAM_RSA_E)) +
             R"(","kty":"RSA","n":")" + base64url(key_number(key_.get(), OSSL_PKEY_PARAM_RSA_N)) +
             "\"}";
      break;
    case EVP_PKEY_EC: {
      const Curve& curve = *curve_of(key_.get());
      json = R"({"crv":")" + std::string(curve.jose) + R"(","kty":"EC","x":")" +
             base64url(key_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X, curve.bytes)) +
             R"(","y":")" +
             base64url(key_number(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y, curve.bytes)) + "\"}";
      break;
    }
    default: {
      std::string raw(32, '\0');
      size_t size = raw.size();
      EVP_PKEY_get_raw_public_key(key_.get(), reinterpret_cast<unsigned char*>(raw.data()), &size);
      json = R"({"crv":"Ed25519","kty":"OKP","x":")" + base64url(raw) + "\"}";
    }
  }
  return base64url(sha256(json));
}

std::string PublicKey::libtrust_id() const {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key_.get(), &der);
  if (size <= 0) return "";
  const std::string hash =
      sha256({reinterpret_cast<const char*>(der), static_cast<size_t>(size)}).substr(0, 30);
  OPENSSL_free(der);
  // 240 bits in Base32 (RFC 4648 §6), a colon after every four characters.
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string id;
  for (size_t bit = 0; bit < 8 * hash.size(); bit += 5) {
    const auto next = bit / 8 + 1 < hash.size() ? static_cast<uint8_t>(hash[bit / 8 + 1]) : 0U;
    const unsigned pair = static_cast<uint8_t>(hash[bit / 8]) << 8U | next;
    if (bit > 0 && bit % 20 == 0) id += ':';
    id += kAlphabet[pair >> (11 - bit % 8) & 31];
  }
  return id;
}

bool PublicKey::verifies(std::string_view algorithm, std::string_view text,
                         std::string_view signature) const {
  const auto used = std::ranges::find(kAlgorithms, algorithm, &SigningAlgorithm::name);
  if (used == kAlgorithms.end() || used->key != EVP_PKEY_get_base_id(key_.get())) return false;
  std::string bytes(signature);
  if (used->key == EVP_PKEY_EC) {
    const Curve* curve = curve_of(key_.get());
    if (curve == nullptr || curve->jose != used->curve) return false;
    bytes = der_signature(signature, *curve);
  }
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* options = nullptr;
  const EVP_MD* digest = used->digest == nullptr ? nullptr : used->digest();
  if (bytes.empty() || !context ||
      EVP_DigestVerifyInit(context.get(), &options, digest, nullptr, key_.get()) != 1) {
    return false;
  }
  if (used->pss && (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) != 1 ||
                    EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) != 1)) {
    return false;
  }
  return EVP_DigestVerify(context.get(), data_of(bytes), bytes.size(), data_of(text),
                          text.size()) == 1;
}

}  // namespace origin::auth

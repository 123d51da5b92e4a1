#include "origin/upload_token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <simdjson.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace origin {
namespace {

constexpr size_t kSignature = 32;
constexpr size_t kMaxToken = 4096;
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// RFC 4648 section 5.
std::string base64url(std::string_view bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0U);
    }
    for (size_t k = 0; k < 4; ++k) {
      const bool padding = i + k > bytes.size();
      text += padding ? '=' : kAlphabet[group >> (18 - 6 * k) & 63];
    }
  }
  return text;
}

std::optional<std::string> from_base64url(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xff);
    }
  }
  return bytes;
}

bool is_time(std::string_view text) {
  return text.size() >= std::string_view("2026-11-24T10:27:35Z").size() &&
         text.find_first_not_of("0123456789-:.+TZ") == std::string_view::npos;
}

}  // namespace

std::string UploadTokens::sign(std::string_view json) const {
  std::array<unsigned char, kSignature> signature{};
  unsigned size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(json.data());
  if (::HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()), data, json.size(),
             signature.data(), &size) == nullptr) {
    throw base::IoError(EIO, "HMAC");
  }
  return {signature.begin(), signature.end()};
}

std::string UploadTokens::issue(const UploadToken& token, std::string_view started_at) const {
  nlohmann::ordered_json json;
  json["Name"] = token.repository;
  json["UUID"] = token.id;
  json["Offset"] = token.offset;
  json["StartedAt"] = is_time(started_at) ? started_at : "1970-01-01T00:00:00Z";
  const std::string text = json.dump();
  return base64url(sign(text) + text);
}

std::optional<UploadToken> UploadTokens::read(std::string_view text) const {
  if (text.size() > kMaxToken) return std::nullopt;
  const auto bytes = from_base64url(text);
  if (!bytes || bytes->size() < kSignature) return std::nullopt;
  const std::string_view json = std::string_view(*bytes).substr(kSignature);
  if (CRYPTO_memcmp(sign(json).data(), bytes->data(), kSignature) != 0) return std::nullopt;

  simdjson::dom::parser parser;
  simdjson::dom::element element;
  std::string_view name;
  std::string_view id;
  UploadToken token;
  if (parser.parse(json.data(), json.size()).get(element) || element["Name"].get(name) ||
      element["UUID"].get(id) || element["Offset"].get(token.offset)) {
    return std::nullopt;
  }
  token.repository = name;
  token.id = id;
  return token;
}

}  // namespace origin

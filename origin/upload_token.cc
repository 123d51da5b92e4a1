#include "origin/upload_token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <simdjson.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/error.h"
#include "http/credentials.h"

namespace origin {
namespace {

constexpr size_t kSignature = 32;
constexpr size_t kMaxToken = 4096;

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
  return base::encode_base64(sign(text) + text, base::Base64::url_padded);
}

std::optional<UploadToken> UploadTokens::read(std::string_view text) const {
  if (text.size() > kMaxToken) return std::nullopt;
  const auto bytes = base::decode_base64(text, base::Base64::url_padded);
  if (!bytes || bytes->size() < kSignature) return std::nullopt;
  const std::string_view json = std::string_view(*bytes).substr(kSignature);
  if (!http::same_secret(sign(json), bytes->substr(0, kSignature))) return std::nullopt;

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

// UploadTokens: the "_state" parameter of upload URLs, in Distribution's format, so that with the
// same http.secret either program takes up what the other has begun: base64url, with padding, of
//
//   HMAC-SHA256(secret, json) json      json: {"Name":…,"UUID":…,"Offset":…,"StartedAt":…}
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace origin {

struct UploadToken {
  std::string repository;
  std::string id;
  uint64_t offset = 0;
};

class UploadTokens {
 public:
  explicit UploadTokens(std::string secret) : secret_(std::move(secret)) {}

  // `started_at` is RFC 3339; what is not gets a stand-in, because Distribution parses it.
  std::string issue(const UploadToken& token, std::string_view started_at) const;

  // The token's content; nullopt unless it was signed with this secret.
  std::optional<UploadToken> read(std::string_view text) const;

 private:
  std::string sign(std::string_view json) const;

  std::string secret_;
};

}  // namespace origin

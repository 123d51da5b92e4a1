#include "origin/auth/token.h"

#include <algorithm>

namespace origin::auth {
namespace {

constexpr int64_t kLeeway = 60;  // seconds

}  // namespace

std::expected<Jwt, std::string> verify_token(const TokenConfig& config, std::string_view token,
                                             std::chrono::system_clock::time_point now) {
  auto jwt = parse_jwt(token);
  if (!jwt) return jwt;
  // Before anything else that the header says is believed.
  if (std::ranges::find(config.algorithms, jwt->algorithm) == config.algorithms.end()) {
    return std::unexpected("its algorithm is not accepted");
  }
  const auto key = config.keys->signer(*jwt, now);
  if (!key) return std::unexpected("its key is not trusted");
  if (!key->verifies(jwt->algorithm, jwt->signed_text, jwt->signature)) {
    return std::unexpected("its signature is wrong");
  }
  const int64_t seconds = std::chrono::system_clock::to_time_t(now);
  // It goes to logs and events as the user's name.
  if (std::ranges::any_of(jwt->subject, [](char c) { return static_cast<uint8_t>(c) < 0x20; })) {
    return std::unexpected("its subject has control characters");
  }
  if (jwt->issuer != config.issuer) return std::unexpected("it is from another issuer");
  if (std::ranges::find(jwt->audience, config.service) == jwt->audience.end()) {
    return std::unexpected("it is for another service");
  }
  if (!jwt->expires) return std::unexpected("it does not say when it expires");
  if (seconds > *jwt->expires + kLeeway) return std::unexpected("it has expired");
  if (jwt->not_before && seconds < *jwt->not_before - kLeeway) {
    return std::unexpected("it is not valid yet");
  }
  return jwt;
}

}  // namespace origin::auth

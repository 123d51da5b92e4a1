#include "origin/auth/bcrypt.h"

#include <crypt.h>
#include <openssl/crypto.h>

#include <memory>

#include "base/error.h"
#include "base/fault_point.h"
#include "http/credentials.h"

namespace origin::auth {
namespace {

constexpr size_t kLength = 60;  // "$2y$10$", 22 characters of salt, 31 of hash
constexpr unsigned kMinCost = 4;
constexpr unsigned kMaxCost = 16;

}  // namespace

unsigned bcrypt_cost(std::string_view hash) {
  return static_cast<unsigned>((hash[4] - '0') * 10 + (hash[5] - '0'));
}

bool valid_bcrypt(std::string_view hash) {
  constexpr std::string_view kDigits = "0123456789";
  constexpr std::string_view kAlphabet =
      "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  if (hash.size() != kLength || hash[6] != '$') return false;
  const std::string_view version = hash.substr(0, 4);
  if (version != "$2a$" && version != "$2b$" && version != "$2y$") return false;
  if (!kDigits.contains(hash[4]) || !kDigits.contains(hash[5])) return false;
  const unsigned cost = bcrypt_cost(hash);
  return cost >= kMinCost && cost <= kMaxCost &&
         hash.find_first_not_of(kAlphabet, 7) == std::string_view::npos;
}

std::string impossible_bcrypt(unsigned cost) {
  // A real salt and the hash of all ones, whose preimage nobody knows.
  std::string hash = "$2y$00$......................9999999999999999999999999999999";
  hash[4] = static_cast<char>('0' + cost / 10);
  hash[5] = static_cast<char>('0' + cost % 10);
  return hash;
}

bool bcrypt_matches(const std::string& password, const std::string& hash) {
  if (const int error = base::fault_point("bcrypt"); error != 0) {
    throw base::IoError(error, "bcrypt");
  }
  const auto data = std::make_unique<crypt_data>();
  const char* computed = crypt_rn(password.c_str(), hash.c_str(), data.get(), sizeof *data);
  if (computed == nullptr) throw base::IoError("bcrypt");
  const bool same = http::same_secret(computed, hash);
  OPENSSL_cleanse(data.get(), sizeof *data);
  return same;
}

}  // namespace origin::auth

// TrustedKeys: whose signatures count. The certificates of auth.token.rootcertbundle, whose keys go
// by their RFC 7638 thumbprint (Distribution 3) and by their libtrust id (Distribution 2), and
// which are authorities for the certificates that a token brings; and the keys of auth.token.jwks
// by their own ids. Immutable after loading; any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "origin/auth/jwt.h"
#include "origin/auth/public_key.h"

struct x509_store_st;

namespace origin::auth {

class TrustedKeys {
 public:
  TrustedKeys();

  // std::runtime_error saying what is wrong with the file. Block.
  void add_certificates(const std::filesystem::path& pem);
  void add_key_set(const std::filesystem::path& json);
  size_t size() const { return keys_.size(); }

  // The trusted key that the token says it is signed with: by its x5c chain, else its jwk, else its
  // kid, as Distribution looks for it. nullopt if it names none or is not trusted.
  std::optional<PublicKey> signer(const Jwt& jwt, std::chrono::system_clock::time_point now) const;

 private:
  struct Entry {
    PublicKey key;
    std::string algorithm;  // the only one it is for; empty: any
  };

  std::optional<PublicKey> find(const std::string& id, const std::string& algorithm) const;
  std::optional<PublicKey> leaf_of(const std::vector<std::string>& chain,
                                   std::chrono::system_clock::time_point now) const;

  std::unordered_map<std::string, Entry> keys_;  // by id
  std::shared_ptr<x509_store_st> authorities_;
};

}  // namespace origin::auth

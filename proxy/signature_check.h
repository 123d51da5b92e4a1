// SignatureCheck: whether a request for a blob shows the permission that the origin gave its client
// (http/signed_url.h). Asked before anything of the cache is looked at, so that a refusal tells
// nothing of what is there. Immutable; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "http/message.h"
#include "http/signed_url.h"

namespace proxy {

// The configuration's section "signature".
struct SignatureConfig {
  std::vector<http::SigningKey> keys;  // any of them is good
  // False: who shows no signature is served too, as long as not every origin signs. One that is
  // shown must be good all the same.
  bool required = true;
  // How long after its end a permission still counts: the origin's clock may be ahead of ours.
  std::chrono::seconds clock_skew{30};
};

class SignatureCheck {
 public:
  explicit SignatureCheck(SignatureConfig config) : config_(std::move(config)) {}

  // Returns if the GET or HEAD may be served to Request::client, at this Unix time. oci::Error
  // (DENIED, which is a 403) if not.
  void check(const http::Request& request, int64_t now) const;

 private:
  const SignatureConfig config_;
};

}  // namespace proxy

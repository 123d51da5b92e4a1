// Upstream: one registry that blobs and manifests are fetched from, as all loops share it: its
// configuration, and what is known of its state. Nothing here sends a request (upstream_client.h).
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/short_memory.h"
#include "oci/digest.h"
#include "proxy/health.h"
#include "proxy/outcome.h"
#include "proxy/request_slots.h"
#include "proxy/retry_budget.h"
#include "proxy/tokens.h"
#include "proxy/upstream_config.h"

namespace proxy {

class Upstream;

// What a blob is called, and where.
struct BlobName {
  std::shared_ptr<Upstream> upstream;
  std::string repository;
  oci::Digest digest;
  std::string cdn_loop;  // of the request that wants it (RFC 8586): goes on to the upstream

  bool operator==(const BlobName& other) const {
    return upstream == other.upstream && repository == other.repository && digest == other.digest;
  }
};

struct UpstreamStatus {
  std::string name;
  std::vector<UrlStatus> urls;
  RequestSlots::Counts requests;
  RequestSlots::Counts passed;  // of those, for clients that are passed through
  RetryBudget::Counts retries;
};

// Thread-safe. Shared by the routing, the fills and whoever else has requests to it under way.
class Upstream {
 public:
  explicit Upstream(UpstreamConfig config);
  const UpstreamConfig& config() const { return config_; }
  const std::string& name() const { return config_.name; }

  Health& health() { return health_; }
  RetryBudget& retries() { return retries_; }
  RequestSlots& slots() { return slots_; }
  // Of those, for clients that are passed through, who may be as slow as they like: half, so that
  // they never take them all from fills (as long as there is more than one).
  RequestSlots& passing_slots() { return passing_slots_; }
  Tokens& tokens() { return tokens_; }

  // Whether this URL has asked for user name and password themselves, not for a token.
  bool wants_basic(size_t url) const { return (wants_basic_ >> url & 1) != 0; }
  void learn_basic(size_t url) { wants_basic_ |= UrlSet{1} << url; }

  // What the upstream said a moment ago, for `absent_lifetime`, if that was no: that it has no such
  // blob (absent), does not give it to us (refused), or gives too much (too_large). A refusal holds
  // only for requests with the same CDN-Loop, which may be why.
  std::optional<Ending> known_no(const BlobName& blob, base::TimePoint now) const;
  // Of other endings nothing is remembered. What is not just absent is logged when it is news.
  void remember_no(const BlobName& blob, const Ending& ending, base::TimePoint now);
  void forget_no(const BlobName& blob);
  // The same of a manifest or a list, by DocumentName::target().
  std::optional<Ending> known_no(const std::string& target, const std::string& cdn_loop,
                                 base::TimePoint now) const;
  void remember_no(const std::string& target, const std::string& cdn_loop, const Ending& ending,
                   base::TimePoint now);
  void forget_no(const std::string& target);

  // URLs that gave bytes of this blob which were not the blob's: others are asked first for a
  // while.
  UrlSet suspects(const oci::Digest& digest, base::TimePoint now) const;
  void suspect(const oci::Digest& digest, UrlSet urls, base::TimePoint now);

  // The program ends: nobody waits for a slot any more.
  void stop() {
    slots_.stop();
    passing_slots_.stop();
  }

  UpstreamStatus status(base::TimePoint now) const;

 private:
  const UpstreamConfig config_;
  Health health_;
  RetryBudget retries_;
  RequestSlots slots_;
  RequestSlots passing_slots_;
  Tokens tokens_;
  std::atomic<UrlSet> wants_basic_ = 0;
  struct No {
    Outcome outcome = Outcome::absent;
    std::string cdn_loop;
  };
  base::ShortMemory<No> noes_;
  base::ShortMemory<UrlSet> suspects_;
};

}  // namespace proxy

#include "proxy/upstream.h"

#include <algorithm>
#include <chrono>

namespace proxy {
namespace {

// Many more than a fleet of clients asks for within the seconds that they are remembered.
constexpr size_t kMostAbsent = 10000;
constexpr base::Duration kSuspicion = std::chrono::minutes(5);
constexpr size_t kMostSuspects = 1000;

std::string key_of(const BlobName& blob) { return blob.repository + '@' + blob.digest.str(); }

}  // namespace

Upstream::Upstream(UpstreamConfig config)
    : config_(std::move(config)),
      health_(config_),
      retries_(config_.retry_percent, config_.retry_floor),
      slots_(config_.max_requests, config_.max_queue),
      passing_slots_(std::max<size_t>(1, config_.max_requests / 2), config_.max_queue),
      absent_(config_.absent_lifetime, kMostAbsent),
      suspects_(kSuspicion, kMostSuspects) {}

bool Upstream::known_absent(const BlobName& blob, base::TimePoint now) const {
  return known_absent(key_of(blob), now);
}
void Upstream::remember_absent(const BlobName& blob, base::TimePoint now) {
  remember_absent(key_of(blob), now);
}
void Upstream::forget_absent(const BlobName& blob) { forget_absent(key_of(blob)); }

bool Upstream::known_absent(const std::string& document, base::TimePoint now) const {
  return absent_.find(document, now).has_value();
}
void Upstream::remember_absent(const std::string& document, base::TimePoint now) {
  absent_.update(document, now, [](std::monostate&) {});
}
void Upstream::forget_absent(const std::string& document) { absent_.forget(document); }

UrlSet Upstream::suspects(const oci::Digest& digest, base::TimePoint now) const {
  return suspects_.find(digest.str(), now).value_or(0);
}
void Upstream::suspect(const oci::Digest& digest, UrlSet urls, base::TimePoint now) {
  suspects_.update(digest.str(), now, [urls](UrlSet& all) { all |= urls; });
}

UpstreamStatus Upstream::status(base::TimePoint now) const {
  return {config_.name, health_.status(now), slots_.counts(), passing_slots_.counts(),
          retries_.counts()};
}

}  // namespace proxy

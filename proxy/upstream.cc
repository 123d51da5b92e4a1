#include "proxy/upstream.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/units.h"

namespace proxy {
namespace {

// Many more than a fleet of clients asks for within the seconds that they are remembered.
constexpr size_t kMostNoes = 10000;
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
      noes_(config_.absent_lifetime, kMostNoes),
      suspects_(kSuspicion, kMostSuspects) {}

std::optional<Ending> Upstream::known_no(const BlobName& blob, base::TimePoint now) const {
  return known_no(key_of(blob), blob.cdn_loop, now);
}
void Upstream::remember_no(const BlobName& blob, const Ending& ending, base::TimePoint now) {
  remember_no(key_of(blob), blob.cdn_loop, ending, now);
}
void Upstream::forget_no(const BlobName& blob) { forget_no(key_of(blob)); }

std::optional<Ending> Upstream::known_no(const std::string& target, const std::string& cdn_loop,
                                         base::TimePoint now) const {
  const std::optional<No> no = noes_.find(target, now);
  if (!no || (no->outcome == Outcome::refused && no->cdn_loop != cdn_loop)) return std::nullopt;
  return Ending{no->outcome, name() + " said so a moment ago", ""};
}

void Upstream::remember_no(const std::string& target, const std::string& cdn_loop,
                           const Ending& ending, base::TimePoint now) {
  if (!is_no(ending.outcome)) return;
  // Who asks again and again must not make it last.
  if (known_no(target, cdn_loop, now)) return;
  noes_.remember(target, now, {ending.outcome, cdn_loop});
  // Registries refuse what they do not have, too, and clients ask for what they like.
  if (ending.outcome != Outcome::absent) {
    LOG_EVERY_T(WARNING, 1) << name() << " does not give " << base::printable(target) << ": "
                            << ending.why << "; it is not asked again for "
                            << base::format_duration(config_.absent_lifetime)
                            << " (at most one such line a second)";
  }
}

void Upstream::forget_no(const std::string& target) { noes_.forget(target); }

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

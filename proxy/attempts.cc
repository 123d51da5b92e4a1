#include "proxy/attempts.h"

#include <algorithm>
#include <chrono>

namespace proxy {
namespace {

constexpr size_t kMostDoublings = 10;

Ending throttled(const Upstream& upstream, base::Duration wait) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
  return {Outcome::throttled, upstream.name() + " has asked to be left alone",
          std::to_string(seconds)};
}

}  // namespace

Attempts::Attempts(Upstream& upstream, size_t rounds, const oci::Digest* digest)
    : upstream_(&upstream), rounds_(rounds) {
  if (digest != nullptr) digest_ = *digest;
}

std::optional<size_t> Attempts::choose(base::TimePoint now) const {
  const UrlSet suspects = digest_ ? upstream_->suspects(*digest_, now) : 0;
  return upstream_->health().choose(asked_, suspects, now);
}

std::variant<Attempts::Next, Ending> Attempts::next(base::TimePoint now) {
  if (std::exchange(under_way_, true)) begin();  // the last attempt did what was wanted of it
  if (!std::exchange(begun_, true)) upstream_->retries().request(now);
  // No other URL and no other time helps against these.
  if (last_.outcome == Outcome::busy || last_.outcome == Outcome::cancelled) return last_;

  base::Duration delay{};
  std::optional<size_t> url = choose(now);
  if (!url && asked_ != 0) {
    // The round is over. If every answer was a refusal, that is the upstream's answer.
    if (!std::exchange(failures_, false) || ++round_ == rounds_) return last_;
    delay = upstream_->config().round_delay * (1 << std::min(round_ - 1, kMostDoublings));
    asked_ = 0;
    url = choose(now);
  }
  if (!url) return throttled(*upstream_, upstream_->health().throttled(now).value_or(delay));
  if (std::exchange(is_retry_, false) && !upstream_->retries().retry(now)) {
    last_.why += " (not tried again: too many of the requests to this upstream fail)";
    return last_;
  }
  current_ = *url;
  asked_ |= UrlSet{1} << *url;
  return Next{*url, delay};
}

void Attempts::failed(Ending ending, bool worthwhile) {
  under_way_ = false;
  last_ = std::move(ending);
  if (worthwhile) {
    begin();
    asked_ = UrlSet{1} << current_;
  }
  failures_ = failures_ || last_.outcome == Outcome::unreachable;
  is_retry_ = last_.outcome == Outcome::unreachable && !worthwhile;
}

void Attempts::begin() {
  begun_ = false;
  round_ = 0;
  asked_ = 0;
  failures_ = false;
}

}  // namespace proxy

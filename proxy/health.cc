#include "proxy/health.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/units.h"

namespace proxy {
namespace {

bool has(UrlSet set, size_t url) { return (set >> url & 1) != 0; }

}  // namespace

Health::Health(const UpstreamConfig& config)
    : eject_after_(config.eject_after),
      eject_time_(config.eject_time),
      eject_time_max_(config.eject_time_max),
      urls_(config.urls.size()) {
  CHECK_LE(urls_.size(), kMaxUrls);
  for (size_t i = 0; i < urls_.size(); ++i) urls_[i].status.url = config.urls[i];
}

std::optional<size_t> Health::choose(UrlSet asked, UrlSet suspects, base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  const bool all_ejected = std::ranges::all_of(urls_, [now](const Url& url) {
    return url.throttled_until > now || url.ejected_until > now;
  });
  for (const bool suspected : {false, true}) {
    for (size_t i = 0; i < urls_.size(); ++i) {
      Url& url = urls_[i];
      if (has(asked, i) || has(suspects, i) != suspected || url.throttled_until > now) continue;
      if (url.ejected_until > now && !all_ejected) continue;
      if (url.ejections > 0 && url.ejected_until <= now) {
        // Its time is over: this request tries it, the others wait for what comes of that.
        url.on_trial = true;
        url.ejected_until = now + eject_time_;
      }
      return i;
    }
  }
  return std::nullopt;
}

std::optional<base::Duration> Health::throttled(base::TimePoint now) const {
  const std::lock_guard lock(mutex_);
  base::TimePoint first = base::kForever;
  for (const Url& url : urls_) first = std::min(first, url.throttled_until);
  return first > now ? std::optional(first - now) : std::nullopt;
}

bool Health::ejected(size_t url, base::TimePoint now) const {
  const std::lock_guard lock(mutex_);
  return urls_[url].ejections > 0 || urls_[url].ejected_until > now;
}

void Health::asked(size_t url) {
  const std::lock_guard lock(mutex_);
  ++urls_[url].status.requests;
}

void Health::answered(size_t url, base::Duration first_byte) {
  const std::lock_guard lock(mutex_);
  ++urls_[url].status.answers;
  urls_[url].status.first_byte += first_byte;
}

void Health::received(size_t url, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  urls_[url].status.bytes += bytes;
}

void Health::succeeded(size_t number) {
  const std::lock_guard lock(mutex_);
  Url& url = urls_[number];
  LOG_IF(INFO, url.ejections > 0) << url.status.url << ": is well again and asked as before";
  url.failures_in_row = 0;
  url.ejections = 0;
  url.on_trial = false;
  url.ejected_until = {};
}

void Health::failed(size_t number, Failure failure, const std::string& why, base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  Url& url = urls_[number];
  ++url.status.failures[static_cast<size_t>(failure)];
  url.status.last_error = why;
  ++url.failures_in_row;
  if (urls_.size() == 1 || url.failures_in_row < eject_after_) return;
  // Requests that were under way when it was left out say nothing new.
  if (url.ejections > 0 && !url.on_trial) return;
  base::Duration time = eject_time_;
  for (size_t i = 0; i < url.ejections && time < eject_time_max_; ++i) time *= 2;
  time = std::min(time, eject_time_max_);
  ++url.ejections;
  url.on_trial = false;
  url.ejected_until = now + time;
  LOG(WARNING) << url.status.url << ": left out for " << base::format_duration(time) << " after "
               << url.failures_in_row << " failures in a row, the last: " << why;
}

void Health::throttle(size_t number, base::Duration wait, base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  Url& url = urls_[number];
  ++url.status.throttled;
  url.throttled_until = std::max(url.throttled_until, now + wait);
}

std::vector<UrlStatus> Health::status(base::TimePoint now) const {
  const std::lock_guard lock(mutex_);
  std::vector<UrlStatus> all;
  all.reserve(urls_.size());
  for (const Url& url : urls_) {
    UrlStatus& status = all.emplace_back(url.status);
    if (url.ejected_until > now) status.ejected_for = url.ejected_until - now;
    if (url.throttled_until > now) status.throttled_for = url.throttled_until - now;
  }
  return all;
}

}  // namespace proxy

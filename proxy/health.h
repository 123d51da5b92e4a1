// Health: how each of an upstream's URLs fares, and which of them a request asks.
//
// The order of the list is the order of preference. A URL that fails several times in a row is left
// out for a while, twice as long each time; then one request at a time tries it again, or a health
// check finds it well. Never are all left out: then all are asked. A URL that answered 429 is not
// asked until the time it named. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "proxy/upstream_config.h"

namespace proxy {

// Why a request failed.
enum class Failure {
  unreachable,  // resolve, connect
  tls,
  timed_out,
  broken,       // closed, reset, malformed, or what came is no answer to the request
  status,       // 5xx
  wrong_bytes,  // not what the digest says
};
inline constexpr size_t kFailures = 6;

// A URL in numbers, for administrators.
struct UrlStatus {
  std::string url;
  uint64_t requests = 0;
  std::array<uint64_t, kFailures> failures{};  // by Failure
  uint64_t throttled = 0;                      // answers with 429
  uint64_t bytes = 0;                          // of bodies
  uint64_t answers = 0;                        // whose head came …
  base::Duration first_byte{};                 // … and in how long, all together
  std::optional<base::Duration> ejected_for;   // how long it is still left out
  std::optional<base::Duration> throttled_for;
  std::string last_error;
};

// URLs as bits, by their place in the list.
using UrlSet = uint64_t;
static_assert(kMaxUrls <= 64);

class Health {
 public:
  explicit Health(const UpstreamConfig& config);

  // The URL to ask, of those that are not in `asked`; one in `suspects` only if no other is left.
  // nullopt: there is none.
  std::optional<size_t> choose(UrlSet asked, UrlSet suspects, base::TimePoint now);
  // If all URLs are throttled: how long until one may be asked.
  std::optional<base::Duration> throttled(base::TimePoint now) const;
  bool ejected(size_t url, base::TimePoint now) const;

  // What came of a request. An answer is neither success nor failure yet: its body may break.
  void asked(size_t url);
  void answered(size_t url, base::Duration first_byte);
  void received(size_t url, uint64_t bytes);
  void succeeded(size_t url);
  void failed(size_t url, Failure failure, const std::string& why, base::TimePoint now);
  void throttle(size_t url, base::Duration wait, base::TimePoint now);

  std::vector<UrlStatus> status(base::TimePoint now) const;

 private:
  struct Url {
    UrlStatus status;
    size_t failures_in_row = 0;
    size_t ejections = 0;  // in a row; 0: it is not left out, nor has it yet to prove itself
    bool on_trial = false;
    base::TimePoint ejected_until;
    base::TimePoint throttled_until;
  };

  const size_t eject_after_;
  const base::Duration eject_time_;
  const base::Duration eject_time_max_;
  mutable std::mutex mutex_;
  std::vector<Url> urls_;  // guarded by mutex_
};

}  // namespace proxy

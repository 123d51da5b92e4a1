#include "http/bandwidth.h"

#include <algorithm>

namespace http {
namespace {

// What was not used lately may be made up for: a pause is never exact.
constexpr std::chrono::milliseconds kCredit(50);

}  // namespace

base::TimePoint Bandwidth::spend(uint64_t bytes, base::TimePoint now) {
  const uint64_t rate = rate_;
  if (rate == 0) return now;
  const std::chrono::duration<double> seconds(static_cast<double>(bytes) /
                                              static_cast<double>(rate));
  const auto time = std::chrono::duration_cast<base::Duration>(seconds);
  base::TimePoint before = free_at_;
  base::TimePoint after;
  do {
    after = std::max(before, now - kCredit) + time;
  } while (!free_at_.compare_exchange_weak(before, after));
  return after;
}

}  // namespace http

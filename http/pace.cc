#include "http/pace.h"

#include <algorithm>

namespace http {
namespace {

uint64_t bytes_in_period(const LeastPace& least) {
  const double seconds = std::chrono::duration<double>(least.period).count();
  const double bytes = seconds * static_cast<double>(least.bytes_per_second);
  return std::max<uint64_t>(1, static_cast<uint64_t>(bytes));
}

}  // namespace

Pace::Pace(base::EventLoop& loop, LeastPace least)
    : loop_(loop), period_(least.period), least_(bytes_in_period(least)), left_(period_) {}

base::TimePoint Pace::begin_wait() {
  begun_ = loop_.now();
  return loop_.after(left_);
}

void Pace::end_wait() { left_ -= loop_.now() - begun_; }

void Pace::moved(uint64_t bytes) {
  moved_ += bytes;
  if (moved_ >= least_) restart();
}

void Pace::restart() {
  left_ = period_;
  moved_ = 0;
}

}  // namespace http

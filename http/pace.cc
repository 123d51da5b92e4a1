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

Pace::Pace(base::EventLoop& loop, LeastPace least, PaceGroup* group)
    : loop_(loop),
      period_(least.period),
      least_(bytes_in_period(least)),
      group_(group),
      left_(period_) {
  if (group_ != nullptr) ++group_->paces_;
}

Pace::~Pace() {
  if (group_ == nullptr) return;
  give_spare();
  --group_->paces_;
}

base::TimePoint Pace::begin_wait() {
  begun_ = loop_.now();
  return loop_.after(left_);
}

void Pace::end_wait() {
  count_wait();
  begun_.reset();
}

void Pace::count_wait() {
  if (!begun_) return;
  const base::TimePoint now = loop_.now();
  left_ -= now - *begun_;
  begun_ = now;
}

void Pace::moved(uint64_t bytes) {
  moved_ += bytes;
  if (moved_ < least_) return;
  count_wait();
  if (group_ != nullptr) give_spare();
  restart();
}

bool Pace::too_slow() {
  if (left_ > base::Duration::zero()) return false;
  if (group_ == nullptr) return true;
  const auto lack = static_cast<int64_t>(least_ - moved_);
  group_->spare_ = std::min(group_->spare_, static_cast<int64_t>(group_->paces_ * least_));
  if (group_->spare_ + static_cast<int64_t>(group_->untold_()) < lack) return true;
  group_->spare_ -= lack;
  restart();
  return false;
}

// What has been moved beyond what the time so far asks.
void Pace::give_spare() {
  const double part = std::chrono::duration<double>(period_ - left_) / period_;
  const auto due = static_cast<uint64_t>(part * static_cast<double>(least_));
  group_->spare_ += static_cast<int64_t>(moved_ - std::min(moved_, due));
}

void Pace::restart() {
  left_ = period_;
  moved_ = 0;
}

}  // namespace http

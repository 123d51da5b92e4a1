#include "proxy/retry_budget.h"

#include <chrono>

namespace proxy {
namespace {

constexpr base::Duration kHalfWindow = std::chrono::seconds(5);

}  // namespace

void RetryBudget::turn(base::TimePoint now) {
  const base::Duration passed = now - began_;
  if (passed < kHalfWindow) return;
  before_ = passed < 2 * kHalfWindow ? current_ : Count();
  current_ = {};
  began_ = now;
}

void RetryBudget::request(base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  turn(now);
  ++current_.requests;
}

bool RetryBudget::retry(base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  turn(now);
  const uint64_t requests = before_.requests + current_.requests;
  const uint64_t retries = before_.retries + current_.retries;
  if (retries >= floor_ + requests * percent_ / 100) {
    ++counts_.denied;
    return false;
  }
  ++current_.retries;
  ++counts_.retries;
  return true;
}

RetryBudget::Counts RetryBudget::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace proxy

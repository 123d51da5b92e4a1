#include "origin/auth/throttle.h"

#include <algorithm>
#include <functional>
#include <string>

namespace origin::auth {
namespace {

constexpr size_t kSlots = 1 << 16;

}  // namespace

Throttle::Throttle(unsigned burst, base::Duration interval, uint64_t salt)
    : allowance_(interval * (burst - 1)), interval_(interval), salt_(salt), forgotten_(kSlots) {}

size_t Throttle::slot(std::string_view key) const {
  return std::hash<std::string>()(std::to_string(salt_) + std::string(key)) % kSlots;
}

base::Duration Throttle::wait(std::string_view key, base::TimePoint now) const {
  return std::max(forgotten_[slot(key)] - now - allowance_, base::Duration::zero());
}

bool Throttle::clear(std::string_view key, base::TimePoint now) const {
  return forgotten_[slot(key)] <= now;
}

void Throttle::charge(std::string_view key, base::TimePoint now) {
  base::TimePoint& when = forgotten_[slot(key)];
  when = std::max(when, now) + interval_;
}

void Throttle::refund(std::string_view key) { forgotten_[slot(key)] -= interval_; }

}  // namespace origin::auth

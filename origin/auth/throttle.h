// Throttle: slows down what fails again and again. Each key may fail `burst` times, and then once
// each `interval`. Memory is fixed: keys share a table of slots by a salted hash, so two of them
// may, rarely and unforeseeably, share their count; the salt is random but for tests. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/event_loop.h"

namespace origin::auth {

class Throttle {
 public:
  Throttle(unsigned burst, base::Duration interval, uint64_t salt);

  // How long the key has to wait before its next attempt; 0 if it may try now.
  base::Duration wait(std::string_view key, base::TimePoint now) const;
  // Whether nothing is counted against the key.
  bool clear(std::string_view key, base::TimePoint now) const;
  // Counts an attempt as failed; the one that then succeeds is taken back.
  void charge(std::string_view key, base::TimePoint now);
  void refund(std::string_view key);

 private:
  size_t slot(std::string_view key) const;

  const base::Duration allowance_;
  const base::Duration interval_;
  const uint64_t salt_;
  // When all failures of the slot are forgotten (the generic cell rate algorithm).
  std::vector<base::TimePoint> forgotten_;
};

}  // namespace origin::auth

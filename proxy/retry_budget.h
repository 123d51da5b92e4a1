// RetryBudget: how many of an upstream's requests may be repetitions of one that failed, so that an
// upstream in trouble is not asked many times as much as a healthy one. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "base/event_loop.h"

namespace proxy {

class RetryBudget {
 public:
  // In a window of ten seconds: `percent` of the requests, and `floor` beside them.
  RetryBudget(size_t percent, size_t floor) : percent_(percent), floor_(floor) {}

  // A request that is none.
  void request(base::TimePoint now);
  // True, and counted, if one more retry is within the budget.
  bool retry(base::TimePoint now);

  struct Counts {
    uint64_t retries = 0;  // allowed so far
    uint64_t denied = 0;
  };
  Counts counts() const;

 private:
  struct Count {
    uint64_t requests = 0;
    uint64_t retries = 0;
  };
  void turn(base::TimePoint now);

  const size_t percent_;
  const size_t floor_;
  mutable std::mutex mutex_;
  Count before_;   // guarded by mutex_, like all below: the first half of the window …
  Count current_;  // … and the second, which is under way
  base::TimePoint began_;
  Counts counts_;
};

}  // namespace proxy

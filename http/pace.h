// Pace: whether a peer that is waited for moves bytes fast enough to be waited for any longer.
//
// Only the time counts in which the peer is waited for: what a handler, the disk or an upstream
// takes is not held against it. Once it has moved what a whole period asks of it, a new period
// begins. Lives on one loop.
#pragma once

#include <cstdint>

#include "base/event_loop.h"

namespace http {

// The least a peer must move: `bytes_per_second` on average over a period, and at least one byte.
struct LeastPace {
  base::Duration period;
  uint64_t bytes_per_second = 0;
};

class Pace {
 public:
  Pace(base::EventLoop& loop, LeastPace least);

  // A wait for the peer begins. It may last until the time that is returned.
  base::TimePoint begin_wait();
  void end_wait();
  // The peer has moved so many bytes, during a wait or between two.
  void moved(uint64_t bytes);
  // The period is over and the peer has moved less than it must.
  bool too_slow() const { return left_ <= base::Duration::zero(); }
  // Begins a new period, whatever the peer has done.
  void restart();

 private:
  base::EventLoop& loop_;
  const base::Duration period_;
  const uint64_t least_;   // bytes in a period
  base::Duration left_;    // of the period
  uint64_t moved_ = 0;     // in the period
  base::TimePoint begun_;  // the wait in progress
};

}  // namespace http

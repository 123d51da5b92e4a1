// Pace: whether a peer that is waited for moves bytes fast enough to be waited for any longer.
//
// Only the time counts in which the peer is waited for: what a handler, the disk or an upstream
// takes is not held against it. Once it has moved what a whole period asks of it, a new period
// begins. Lives on one loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>

#include "base/event_loop.h"

namespace http {

// The least a peer must move: `bytes_per_second` on average over a period, and at least one byte.
struct LeastPace {
  base::Duration period;
  uint64_t bytes_per_second = 0;
};

// Paces of which one makes up for another: what is moved beyond what must be counts for those that
// move too little. For as much as a period asks of all of them, so that it is soon forgotten. Lives
// on one loop; must outlive its paces.
class PaceGroup {
 public:
  // `untold` says how many bytes the peer has moved that no pace has been told of: they will be, of
  // many at once, and count already.
  explicit PaceGroup(std::function<uint64_t()> untold = [] { return 0; })
      : untold_(std::move(untold)) {}

 private:
  friend class Pace;
  const std::function<uint64_t()> untold_;
  size_t paces_ = 0;
  int64_t spare_ = 0;  // bytes; below 0 if some of those untold have been counted
};

class Pace {
 public:
  Pace(base::EventLoop& loop, LeastPace least, PaceGroup* group = nullptr);
  ~Pace();
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  // A wait for the peer begins. It may last until the time that is returned.
  base::TimePoint begin_wait();
  void end_wait();
  // The peer has moved so many bytes, during a wait or between two.
  void moved(uint64_t bytes);
  // The period is over and the peer has moved less than it must, and its group does not make up for
  // it.
  bool too_slow();

 private:
  void count_wait();
  void give_spare();
  void restart();

  base::EventLoop& loop_;
  const base::Duration period_;
  const uint64_t least_;  // bytes in a period
  PaceGroup* const group_;
  base::Duration left_;                   // of the period
  uint64_t moved_ = 0;                    // in the period
  std::optional<base::TimePoint> begun_;  // the wait in progress, or what is not counted of it
};

}  // namespace http

// Bandwidth: how many bytes a second all connections of a server may send together. Thread-safe.
//
// Whoever has sent something books it and pauses until its time has come; so the senders take
// turns, whatever loops they are on, and none has to be woken by another.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/event_loop.h"

namespace http {

class Bandwidth {
 public:
  // Bytes a second; 0 is no limit.
  void limit(uint64_t bytes_per_second) { rate_ = bytes_per_second; }
  bool limited() const { return rate_ != 0; }

  // Books bytes that have been sent. Who sent them sends nothing more before the time returned.
  base::TimePoint spend(uint64_t bytes, base::TimePoint now);

 private:
  std::atomic<uint64_t> rate_ = 0;
  std::atomic<base::TimePoint> free_at_{base::TimePoint::min()};  // when all that is booked is sent
};

}  // namespace http

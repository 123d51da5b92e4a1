// Throughput: how fast running totals have grown over the last minute. Pure.
#pragma once

#include <cstdint>
#include <deque>

#include "base/event_loop.h"

namespace proxy {

class Throughput {
 public:
  struct Sample {
    uint64_t requests = 0;
    uint64_t hits = 0;            // answered from the store
    uint64_t sent_bytes = 0;      // to clients
    uint64_t received_bytes = 0;  // from upstreams; counted anew if a reload replaces one
  };
  struct PerSecond {
    double requests = 0;
    double sent_bytes = 0;
    double received_bytes = 0;
    double hit_ratio = 0;  // of the requests in that time; 0 without any
  };

  // The totals as they are now. Time goes forward.
  void add(base::TimePoint now, const Sample& totals);
  // Since the oldest sample that is not older than a minute; all 0 with less than two.
  PerSecond over_the_last_minute() const;

 private:
  struct Timed {
    base::TimePoint when;
    Sample totals;
  };
  std::deque<Timed> samples_;
};

}  // namespace proxy

#include "proxy/throughput.h"

#include <chrono>

namespace proxy {

void Throughput::add(base::TimePoint now, const Sample& totals) {
  while (!samples_.empty() && samples_.front().when < now - std::chrono::minutes(1)) {
    samples_.pop_front();
  }
  const bool anew =
      !samples_.empty() && totals.received_bytes < samples_.back().totals.received_bytes;
  if (anew) samples_.clear();
  samples_.push_back({now, totals});
}

Throughput::PerSecond Throughput::over_the_last_minute() const {
  if (samples_.size() < 2) return {};
  const Timed& first = samples_.front();
  const Timed& last = samples_.back();
  const double seconds = std::chrono::duration<double>(last.when - first.when).count();
  if (seconds <= 0) return {};
  const auto grown = [&](uint64_t Sample::* total) {
    return static_cast<double>(last.totals.*total - first.totals.*total);
  };
  PerSecond rate{.requests = grown(&Sample::requests) / seconds,
                 .sent_bytes = grown(&Sample::sent_bytes) / seconds,
                 .received_bytes = grown(&Sample::received_bytes) / seconds};
  const double requests = grown(&Sample::requests);
  if (requests > 0) rate.hit_ratio = grown(&Sample::hits) / requests;
  return rate;
}

}  // namespace proxy

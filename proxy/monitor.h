// Monitor: what is known about the edge at any moment: its metrics, what its clients do, and the
// Status that is put together of these, of the store and of the fills.
//
// Owned by Edge. All that it is given must outlive it.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "base/loop_group.h"
#include "base/metrics.h"
#include "base/signal.h"
#include "cache/blob_store.h"
#include "http/server.h"
#include "proxy/activity.h"
#include "proxy/fills.h"
#include "proxy/routing.h"
#include "proxy/status.h"
#include "proxy/store.h"
#include "proxy/throughput.h"
#include "proxy/upstream_metrics.h"

namespace proxy {

class Monitor {
 public:
  Monitor(std::string name, base::LoopGroup& loops, const Store& store, const Fills& fills,
          CurrentRouting routing);

  // Between the two the totals are sampled every second, and the server is asked for its
  // connections. Not from a loop's thread.
  void start(const http::Server& server);
  void stop();

  base::Metrics& metrics() { return metrics_; }
  Activity& activity() { return activity_; }
  // Blocks: on the pool only.
  Status status();

 private:
  void add_metrics();
  static base::Task<void> sample(Monitor* monitor);
  uint64_t received_bytes(base::TimePoint now) const;

  const std::string name_;
  base::LoopGroup& loops_;
  const Store& store_;
  const Fills& fills_;
  const CurrentRouting routing_;
  base::Metrics metrics_;
  const UpstreamMetrics upstream_metrics_;
  Activity activity_;
  const base::TimePoint began_;
  std::atomic<const http::Server*> server_ = nullptr;

  base::TaskScope sampling_;  // touched on loop 0 only
  base::Signal stopped_;
  std::atomic<bool> stopping_ = false;
  std::mutex mutex_;
  Throughput throughput_;  // guarded by mutex_
};

}  // namespace proxy

// UpstreamMetrics: how the upstreams fare and what is held of each, for Prometheus. An upstream is
// named by its name, never by its URLs, which may be many and change. Any thread.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "base/event_loop.h"
#include "cache/blob_store.h"
#include "proxy/routing.h"
#include "proxy/store.h"

namespace proxy {

class UpstreamMetrics : public prometheus::Collectable {
 public:
  // All of them outlive it. The loop is asked for the time.
  UpstreamMetrics(const base::EventLoop& loop, const CurrentRouting& routing, const Store& store)
      : loop_(loop), routing_(routing), store_(store) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const base::EventLoop& loop_;
  const CurrentRouting& routing_;
  const Store& store_;
};

// Pure.
std::vector<prometheus::MetricFamily> upstream_metrics(const std::vector<UpstreamStatus>& upstreams,
                                                       const cache::StoreStats& cache);

}  // namespace proxy

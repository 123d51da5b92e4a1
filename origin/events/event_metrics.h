// EventMetrics: how the notifications go, under Distribution's names (registry_notifications_…),
// and how many events were lost, which it does not tell. An endpoint is named by its name, never by
// its URL, which may hold a password. Any thread.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "origin/events/endpoint.h"

namespace origin {

class Events;

class EventMetrics : public prometheus::Collectable {
 public:
  // The events must outlive it.
  explicit EventMetrics(const Events& events) : events_(events) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Events& events_;
};

// Pure.
std::vector<prometheus::MetricFamily> event_metrics(const std::vector<EndpointStatus>& endpoints);

}  // namespace origin

#include "origin/events/event_metrics.h"

#include <string>
#include <utility>

#include "origin/events/events.h"

namespace origin {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<ClientMetric::Label>;

void add_counter(MetricFamily& family, Labels labels, uint64_t value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = static_cast<double>(value);
  family.metric.push_back(std::move(metric));
}

void add_gauge(MetricFamily& family, Labels labels, uint64_t value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = static_cast<double>(value);
  family.metric.push_back(std::move(metric));
}

}  // namespace

std::vector<MetricFamily> event_metrics(const std::vector<EndpointStatus>& endpoints) {
  MetricFamily events{
      "registry_notifications_events_total", "The number of total events", MetricType::Counter, {}};
  MetricFamily pending{"registry_notifications_pending_total",
                       "The gauge of pending events in queue",
                       MetricType::Gauge,
                       {}};
  MetricFamily statuses{
      "registry_notifications_status_total", "The number of status code", MetricType::Counter, {}};
  MetricFamily dropped{"entrepot_notifications_dropped_total",
                       "Events that were lost because the queue was full or its disk failed.",
                       MetricType::Counter,
                       {}};
  for (const EndpointStatus& endpoint : endpoints) {
    const ClientMetric::Label name{"endpoint", endpoint.name};
    add_counter(events, {name, {"type", "Events"}}, endpoint.events);
    add_counter(events, {name, {"type", "Successes"}}, endpoint.successes);
    add_counter(events, {name, {"type", "Failures"}}, endpoint.failures);
    add_counter(events, {name, {"type", "Errors"}}, endpoint.errors);
    add_gauge(pending, {name}, endpoint.pending);
    for (const auto& [code, count] : endpoint.statuses) {
      add_counter(statuses, {{"code", code}, name}, count);
    }
    add_counter(dropped, {name}, endpoint.dropped);
  }
  return {std::move(events), std::move(pending), std::move(statuses), std::move(dropped)};
}

std::vector<MetricFamily> EventMetrics::Collect() const { return event_metrics(events_.status()); }

}  // namespace origin

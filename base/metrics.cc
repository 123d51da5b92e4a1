#include "base/metrics.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>

namespace base {

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels);
}

Gauge& Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels);
}

Histogram& Metrics::histogram(const std::string& name, const std::string& help,
                              const Buckets& buckets, const Labels& labels) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels,
                                                                                    buckets);
}

void Metrics::watch(Kind kind, const std::string& name, const std::string& help,
                    std::function<double()> value) {
  const std::lock_guard lock(mutex_);
  watched_.push_back({kind, name, help, std::move(value)});
}

void Metrics::include(const prometheus::Collectable& series) {
  const std::lock_guard lock(mutex_);
  elsewhere_.push_back(&series);
}

std::string Metrics::text() const {
  std::vector<prometheus::MetricFamily> families = registry_.Collect();
  const std::lock_guard lock(mutex_);
  for (const prometheus::Collectable* series : elsewhere_) {
    std::vector<prometheus::MetricFamily> more = series->Collect();
    std::ranges::move(more, std::back_inserter(families));
  }
  for (const Watched& watched : watched_) {
    prometheus::ClientMetric metric;
    const bool counts = watched.kind == Kind::counter;
    (counts ? metric.counter.value : metric.gauge.value) = watched.value();
    families.push_back(
        {.name = watched.name,
         .help = watched.help,
         .type = counts ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge,
         .metric = {metric}});
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace base

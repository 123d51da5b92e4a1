// Metrics: what a program counts about itself, in Prometheus' text format.
//
//   base::Counter& pushes = metrics.counter("entrepot_pushes_total", "Pushes.", {});
//   pushes.Increment();
//
// Ask for a counter once, when the object that counts is made, and keep the reference: it is good
// as long as the Metrics. Counting is then an atomic addition (a histogram takes a lock of its own
// for a few additions); any thread may do it, and no label is put together for it. Labels have few
// values, known beforehand: never a repository, a digest, an address, or other text from outside.
//
// Thread-safe.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace base {

using Counter = prometheus::Counter;
using Gauge = prometheus::Gauge;
using Histogram = prometheus::Histogram;
using Labels = std::map<std::string, std::string>;
using Buckets = std::vector<double>;  // upper bounds, rising

class Metrics {
 public:
  enum class Kind { counter, gauge };

  // The series with that name and those labels, made if it is new. A name has one kind and one help
  // text: std::invalid_argument for a malformed name, or one in use for another kind.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  Histogram& histogram(const std::string& name, const std::string& help, const Buckets& buckets,
                       const Labels& labels = {});

  // A series whose value is asked for whenever text() is. The function is called by any thread and
  // must stay callable as long as the Metrics.
  void watch(Kind kind, const std::string& name, const std::string& help,
             std::function<double()> value);
  // Series that are counted elsewhere, which must outlive the Metrics.
  void include(const prometheus::Collectable& series);

  // All of it (Content-Type kMetricsType). Series of one name are together.
  std::string text() const;

 private:
  struct Watched {
    Kind kind;
    std::string name;
    std::string help;
    std::function<double()> value;
  };

  prometheus::Registry registry_;
  mutable std::mutex mutex_;
  std::vector<Watched> watched_;                           // guarded by mutex_
  std::vector<const prometheus::Collectable*> elsewhere_;  // guarded by mutex_
};

inline constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace base

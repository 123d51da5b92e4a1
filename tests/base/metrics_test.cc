#include "base/metrics.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/process_metrics.h"
#include "base/unique_fd.h"

namespace base {
namespace {

using ::testing::HasSubstr;

TEST(Metrics, TheTextIsWhatPrometheusReads) {
  Metrics metrics;
  metrics.counter("pushes_total", "Pushes.", {{"kind", "blob"}}).Increment(3);
  metrics.gauge("open", "Open.").Set(2);
  Histogram& times = metrics.histogram("seconds", "Time.", {0.1, 1});
  times.Observe(0.5);
  times.Observe(7);
  metrics.watch(Metrics::Kind::gauge, "asked", "Asked.", [] { return 5; });
  const std::string text = metrics.text();
  for (const char* part :
       {"# HELP pushes_total Pushes.\n# TYPE pushes_total counter\npushes_total{kind=\"blob\"} 3\n",
        "# TYPE open gauge\nopen 2\n", "# TYPE seconds histogram\n", "seconds_count 2\n",
        "seconds_sum 7.5\n", "seconds_bucket{le=\"0.1\"} 0\n", "seconds_bucket{le=\"1\"} 1\n",
        "seconds_bucket{le=\"+Inf\"} 2\n", "# TYPE asked gauge\nasked 5\n"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(Metrics, OneSeriesPerNameAndLabels) {
  Metrics metrics;
  Counter& blob = metrics.counter("pushes_total", "Pushes.", {{"kind", "blob"}});
  EXPECT_EQ(&blob, &metrics.counter("pushes_total", "Pushes.", {{"kind", "blob"}}));
  EXPECT_NE(&blob, &metrics.counter("pushes_total", "Pushes.", {{"kind", "manifest"}}));
  EXPECT_THROW(metrics.gauge("pushes_total", "Pushes."), std::invalid_argument);
  EXPECT_THROW(metrics.gauge("not a name", ""), std::invalid_argument);
}

TEST(Metrics, ThreadsCountTogether) {
  Metrics metrics;
  Counter& counter = metrics.counter("events_total", "Events.");
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 1000; ++n) counter.Increment();
      });
    }
    EXPECT_FALSE(metrics.text().empty());
  }
  EXPECT_EQ(counter.Value(), 4000);
}

double value_of(const Metrics& metrics, const std::string& name) {
  std::istringstream lines(metrics.text());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size()));
  }
  ADD_FAILURE() << "no " << name;
  return 0;
}

TEST(ProcessMetrics, TellOfThisProcess) {
  Metrics metrics;
  add_process_metrics(metrics);
  const double open = value_of(metrics, "process_open_fds");
  const UniqueFd another(::open("/dev/null", O_RDONLY));
  EXPECT_EQ(value_of(metrics, "process_open_fds"), open + 1);
  EXPECT_GE(value_of(metrics, "process_max_fds"), open);
  EXPECT_GT(value_of(metrics, "process_resident_memory_bytes"), 1e6);
  EXPECT_GE(value_of(metrics, "process_virtual_memory_bytes"),
            value_of(metrics, "process_resident_memory_bytes"));
  const auto now = static_cast<double>(std::time(nullptr));
  const double started = value_of(metrics, "process_start_time_seconds");
  EXPECT_LE(started, now + 2);
  EXPECT_GT(started, now - 24 * 3600);
  EXPECT_GE(value_of(metrics, "process_cpu_seconds_total"), 0);
}

}  // namespace
}  // namespace base

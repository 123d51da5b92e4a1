// eviction_bench: hit ratios of the edge's eviction on traces like those of production registries,
// beside LRU, plain S3-FIFO and Belady's bound. No disk, no network: the same cache::Eviction as in
// the edge decides, and nothing is stored. bench/README.md says how to read its tables.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "bench/cache_model.h"
#include "bench/trace.h"

namespace bench::eviction_bench {
namespace {

struct Options {
  std::vector<std::string> traces;  // files; none: the generated ones
  size_t requests = 3'000'000;
  uint64_t seed = 1;
  cache::EvictionOptions eviction;
  bool quick = false;
};

constexpr double kShares[] = {0.01, 0.05, 0.1, 0.25};  // of the footprint
constexpr double kRestartShare = 0.05;
constexpr size_t kAfterRestart = 100'000;  // requests

std::string fixed(double value, int decimals) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << value;
  return out.str();
}

// Hits of a stretch of requests.
class Ratios {
 public:
  void count(bool hit, uint64_t bytes) {
    requests_ += 1;
    bytes_ += static_cast<double>(bytes);
    if (!hit) return;
    hits_ += 1;
    hit_bytes_ += static_cast<double>(bytes);
  }
  std::string str() const {
    return fixed(hits_ / requests_, 3) + " / " + fixed(hit_bytes_ / bytes_, 3);
  }

 private:
  double requests_ = 0;
  double bytes_ = 0;
  double hits_ = 0;
  double hit_bytes_ = 0;
};

// Replays [begin, end) and counts from `counted` on.
Ratios replay(const Trace& trace, CacheModel& model, size_t begin, size_t counted, size_t end) {
  Ratios ratios;
  for (size_t i = begin; i < end; ++i) {
    const bool hit = model.request(i);
    if (i >= counted) ratios.count(hit, trace.sizes[trace.requests[i]]);
  }
  return ratios;
}

std::string measure(const Trace& trace, CacheModel&& model) {
  const std::clock_t began = std::clock();
  const size_t all = trace.requests.size();
  const Ratios ratios = replay(trace, model, 0, all / 5, all);  // the first fifth warms up
  const double took = static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
  return ratios.str() + ", " + fixed(1e9 * took / static_cast<double>(all), 0);
}

uint64_t share_of(const Trace& trace, double share) {
  return static_cast<uint64_t>(share * static_cast<double>(trace.footprint()));
}

void print_ratios(const Trace& trace, const Options& options) {
  const cache::EvictionOptions plain{
      .small_blob = 0, .small_share = 0, .probation_share = options.eviction.probation_share};
  const auto row = [](std::string_view cache) -> std::ostream& {
    return std::cout << std::setw(5) << cache;
  };
  const auto cell = [](std::string_view text) {
    std::cout << " | " << std::left << std::setw(19) << text << std::right << std::flush;
  };
  row("cache");
  for (const char* model : {"LRU", "S3-FIFO", "entrepot-edge", "Belady"}) cell(model);
  std::cout << '\n';
  for (const double share : kShares) {
    const uint64_t capacity = share_of(trace, share);
    row(fixed(100 * share, 0) + " %");
    cell(measure(trace, LruModel(trace, capacity)));
    cell(measure(trace, EvictionModel(trace, capacity, plain)));
    cell(measure(trace, EvictionModel(trace, capacity, options.eviction)));
    cell(measure(trace, BeladyModel(trace, capacity)));
    std::cout << '\n';
  }
}

void print_restart(const Trace& trace, const Options& options) {
  const size_t middle = trace.requests.size() / 2;
  const size_t end = std::min(middle + kAfterRestart, trace.requests.size());
  const auto after = [&](std::optional<EvictionModel::Restart> restart) {
    EvictionModel model(trace, share_of(trace, kRestartShare), options.eviction);
    replay(trace, model, 0, 0, middle);
    if (restart) model.restart(*restart);
    return replay(trace, model, middle, middle, end).str();
  };
  using Restart = EvictionModel::Restart;
  std::cout << "after a restart in the middle, cache of " << fixed(100 * kRestartShare, 0)
            << " %, the next " << end - middle << " requests: places saved "
            << after(Restart::saved) << ", times of arrival " << after(Restart::arrival)
            << ", empty " << after(Restart::empty) << "; without it " << after(std::nullopt)
            << '\n';
}

void run(const Options& options) {
  std::vector<std::function<Trace()>> traces;
  traces.reserve(options.traces.size());
  for (const std::string& path : options.traces) {
    traces.emplace_back([&path] { return read_trace(path); });
  }
  if (traces.empty()) {
    const size_t requests = options.quick ? options.requests / 30 : options.requests;
    const uint64_t seed = options.seed;
    traces = {
        [=] { return steady_trace(requests, seed); },
        [=] { return rollout_trace({.name = "rollouts"}, requests, seed); },
        [=] {
          return rollout_trace({.name = "CI", .popularity = 0.8, .new_versions = 0.6, .fleet = 3},
                               requests, seed);
        },
    };
  }
  for (const auto& make : traces) {
    const Trace trace = make();
    std::cout << '\n'
              << trace.name << ": " << trace.requests.size() << " requests, " << trace.sizes.size()
              << " blobs, " << fixed(static_cast<double>(trace.footprint()) / 1e12, 2)
              << " TB\nrequest hits / byte hits, CPU ns per request\n";
    print_ratios(trace, options);
    print_restart(trace, options);
  }
}

}  // namespace
}  // namespace bench::eviction_bench

int main(int argc, char** argv) {
  bench::eviction_bench::Options options;
  CLI::App app("Hit ratios of the edge's eviction beside LRU, S3-FIFO and Belady's bound",
               "bench/eviction");
  app.add_option("--trace", options.traces,
                 "Files of lines \"time blob size\" instead of the generated traces")
      ->check(CLI::ExistingFile);
  app.add_option("--requests", options.requests, "Length of a generated trace")
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the generated traces")->capture_default_str();
  app.add_option("--small-blob", options.eviction.small_blob, "Smaller blobs are small, bytes")
      ->capture_default_str();
  app.add_option("--small-share", options.eviction.small_share,
                 "Share of the bytes that large blobs leave to small ones")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  app.add_option("--probation", options.eviction.probation_share,
                 "Share of the bytes for blobs that nobody has used yet")
      ->check(CLI::Range(0., 1.))
      ->capture_default_str();
  app.add_flag("--quick", options.quick, "A thirtieth of the requests");
  try {
    app.parse(argc, argv);
    bench::eviction_bench::run(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    std::cerr << "bench/eviction: " << error.what() << '\n';
    return 1;
  }
  return 0;
}

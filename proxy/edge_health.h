// EdgeHealth: whether load balancers should send requests to this edge. It looks regularly whether
// the cache's disk takes a write in time; a disk that does not is told at /healthz, and in the log.
// Requests are served meanwhile as well as they can be.
//
// Looks on loop 0 of the group, which must outlive this; asking is for any thread.
#pragma once

#include <atomic>
#include <filesystem>

#include "base/loop_group.h"
#include "base/probe.h"
#include "base/signal.h"
#include "http/message.h"

namespace proxy {

struct EdgeHealthConfig {
  base::Duration interval = std::chrono::seconds(10);
  base::Duration timeout = std::chrono::seconds(5);  // for one look

  bool operator==(const EdgeHealthConfig&) const = default;
};

class EdgeHealth {
 public:
  // `cache` is the store's directory. The file that is written is the store's lock.
  EdgeHealth(base::LoopGroup& loops, const EdgeHealthConfig& config,
             const std::filesystem::path& cache);
  ~EdgeHealth();

  // Begins to look, at once. Neither of the two from a loop's thread.
  void start();
  void stop();

  // From now on /healthz says 503: the edge is about to end.
  void leave() { leaving_ = true; }
  bool failing() const { return failing_; }
  // The answer for /healthz.
  http::Response healthz(const http::Request& request) const;

 private:
  static base::Task<void> watch(EdgeHealth* health);
  void update(const std::string& trouble);

  base::LoopGroup& loops_;
  const EdgeHealthConfig config_;
  base::Probe probe_;
  base::TaskScope scope_;  // touched on loop 0 only
  base::Signal stopped_;
  bool started_ = false;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> failing_ = false;
  std::atomic<bool> leaving_ = false;
};

}  // namespace proxy

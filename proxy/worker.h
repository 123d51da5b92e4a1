// Worker: what one loop has to ask the upstreams with, and the tasks that run there.
// Workers: one for each loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event_loop.h"
#include "base/loop_group.h"
#include "proxy/upstream.h"

namespace proxy {

// Used on its loop only.
class Worker {
 public:
  Worker(base::EventLoop& on, std::string edge) : loop(on), edge_(std::move(edge)) {}

  // The loop's client of this upstream, made when it is first asked for.
  UpstreamClient& client(const std::shared_ptr<Upstream>& upstream);
  // Fails every request that is open, and every later one.
  void abort();

  base::EventLoop& loop;
  base::TaskScope tasks;

 private:
  const std::string edge_;
  bool aborted_ = false;
  std::unordered_map<Upstream*, std::unique_ptr<UpstreamClient>> clients_;
};

// Thread-safe. Made before the server serves; stopped, if only by its destructor, after it.
class Workers {
 public:
  // `edge` is our name, in Via.
  Workers(base::LoopGroup& loops, const std::string& edge);
  ~Workers();
  Workers(const Workers&) = delete;

  // The calling loop's. CHECK: it is one of ours.
  Worker& here();
  // Fails all requests to upstreams. Any thread; does not wait.
  void cancel();
  // Cancels, and waits until no task runs. Blocks; not from a loop's thread.
  void stop();

 private:
  base::LoopGroup& loops_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace proxy

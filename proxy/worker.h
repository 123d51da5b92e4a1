// Worker: what one loop has to ask the upstreams with, and the tasks that run there.
// Workers: one for each loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event_loop.h"
#include "base/loop_group.h"
#include "base/signal.h"
#include "proxy/upstream.h"
#include "proxy/upstream_client.h"

namespace proxy {

// Used on its loop only.
class Worker {
 public:
  Worker(base::EventLoop& on, std::string edge) : loop(on), edge_(std::move(edge)) {}

  // The loop's client of this upstream, made when it is first asked for. It lives as long as the
  // Upstream, which the caller holds while it uses the client.
  UpstreamClient& client(const std::shared_ptr<Upstream>& upstream);
  // Lets go of the clients, and their connections, of upstreams that nobody holds any more.
  void forget_clients();
  // Looks after this upstream's health until nobody else holds it or abort() is called.
  base::Task<void> check_health(std::weak_ptr<Upstream> upstream);
  // Fails every request that is open, and every later one.
  void abort();

  base::EventLoop& loop;
  base::TaskScope tasks;

 private:
  const std::string edge_;
  struct Client {
    std::weak_ptr<Upstream> upstream;
    std::unique_ptr<UpstreamClient> client;
  };

  bool aborted_ = false;
  base::Signal stopping_;
  std::unordered_map<Upstream*, Client> clients_;
};

// Thread-safe. Made before the server serves; stopped, if only by its destructor, after it.
class Workers {
 public:
  // `edge` is our name, in Via and CDN-Loop.
  Workers(base::LoopGroup& loops, const std::string& edge);
  ~Workers();
  Workers(const Workers&) = delete;

  // The calling loop's. CHECK: it is one of ours.
  Worker& here();
  // These upstreams are the configured ones from now on: begins to look after their health, and
  // lets go of what belongs to upstreams that nobody holds any more. Any thread; does not wait.
  void use(const std::vector<std::shared_ptr<Upstream>>& upstreams);
  // Fails all requests to upstreams. Any thread; does not wait.
  void cancel();
  // Cancels, and waits until no task runs. Blocks; not from a loop's thread.
  void stop();

 private:
  base::LoopGroup& loops_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace proxy

#include "proxy/worker.h"

#include <glog/logging.h>

#include <algorithm>

namespace proxy {

UpstreamClient& Worker::client(const std::shared_ptr<Upstream>& upstream) {
  std::unique_ptr<UpstreamClient>& client = clients_[upstream.get()];
  if (!client) {
    client = std::make_unique<UpstreamClient>(loop, upstream, edge_);
    if (aborted_) client->abort();
  }
  return *client;
}

void Worker::abort() {
  aborted_ = true;
  for (const auto& [upstream, client] : clients_) client->abort();
}

Workers::Workers(base::LoopGroup& loops, const std::string& edge) : loops_(loops) {
  workers_.resize(loops.size());
  for (size_t i = 0; i < loops.size(); ++i) {
    loops.call(i, [&] { workers_[i] = std::make_unique<Worker>(loops.loop(i), edge); });
  }
}

Workers::~Workers() { stop(); }

Worker& Workers::here() {
  const auto* loop = base::EventLoop::current();
  const auto found =
      std::ranges::find_if(workers_, [loop](const auto& worker) { return &worker->loop == loop; });
  CHECK(found != workers_.end()) << "an upstream was asked for outside the worker loops";
  return **found;
}

void Workers::cancel() {
  for (const auto& worker : workers_) {
    worker->loop.post([each = worker.get()] { each->abort(); });
  }
}

void Workers::stop() {
  cancel();
  for (size_t i = 0; i < workers_.size(); ++i) {
    Worker* worker = workers_[i].get();
    loops_.await(i, [worker]() -> base::Task<void> {
      return [](Worker* w) -> base::Task<void> { co_await w->tasks.join(); }(worker);
    });
    loops_.call(i, [&] { workers_[i].reset(); });
  }
  workers_.clear();
}

}  // namespace proxy

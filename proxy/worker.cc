#include "proxy/worker.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/fault_point.h"

namespace proxy {

UpstreamClient& Worker::client(const std::shared_ptr<Upstream>& upstream) {
  Client& entry = clients_[upstream.get()];
  // An Upstream that is gone may have lived at this address.
  if (!entry.client || entry.upstream.expired()) {
    entry = {upstream, std::make_unique<UpstreamClient>(loop, *upstream, edge_)};
    if (aborted_) entry.client->abort();
  }
  return *entry.client;
}

void Worker::forget_clients() {
  std::erase_if(clients_, [](const auto& each) { return each.second.upstream.expired(); });
}

base::Task<void> Worker::check_health(std::weak_ptr<Upstream> watched) {
  while (true) {
    const base::Signal::Ticket ticket = stopping_.ticket();
    std::shared_ptr<Upstream> upstream = watched.lock();
    if (aborted_ || !upstream) co_return;
    const base::TimePoint next = loop.after(upstream->config().health_interval);
    upstream.reset();
    co_await stopping_.wait(ticket, next);
    upstream = watched.lock();
    if (aborted_ || !upstream) co_return;
    co_await client(upstream).check_health();
  }
}

void Worker::abort() {
  aborted_ = true;
  stopping_.notify();
  for (const auto& [key, entry] : clients_) {
    const std::shared_ptr<Upstream> held = entry.upstream.lock();
    if (held) entry.client->abort();
  }
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

void Workers::use(const std::vector<std::shared_ptr<Upstream>>& fresh) {
  for (const auto& worker : workers_) {
    worker->loop.post([each = worker.get()] { each->forget_clients(); });
  }
  for (const auto& upstream : fresh) {
    if (upstream->config().health_check == UpstreamConfig::HealthCheck::off) continue;
    Worker* first = workers_.front().get();
    first->loop.post(
        [first, weak = std::weak_ptr(upstream)] { first->tasks.spawn(first->check_health(weak)); });
  }
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
    base::fault_point("worker.ended");
  }
  // Only now: until its tasks have ended, a loop looks for its own worker among all of them.
  for (size_t i = 0; i < workers_.size(); ++i) loops_.call(i, [&] { workers_[i].reset(); });
  workers_.clear();
}

}  // namespace proxy

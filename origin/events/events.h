// Events: what happens in the registry, on its way to the configured endpoints.
//
//   handler → api/notify → Events::add → each Endpoint's queue → its coroutine → POST
//
// Nothing here delays or fails a request for the sake of an endpoint.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/loop_group.h"
#include "base/signal.h"
#include "base/thread_pool.h"
#include "origin/events/config.h"
#include "origin/events/endpoint.h"
#include "origin/events/event.h"

namespace origin {

class Events {
 public:
  // Opens the queues: base::IoError. `address` is http.addr, part of what the events say of their
  // source. Loops and pool must outlive it.
  Events(const NotificationsConfig& config, const std::string& address, base::LoopGroup& loops,
         base::ThreadPool& pool);
  Events(const Events&) = delete;

  // Sends until stop(), which does not wait for any endpoint: what is unsent then stays in the
  // queues. Not from a loop's thread.
  void start();
  void stop();

  bool include_references() const { return include_references_; }

  // The event is on its way; it is on disk after flush(), or within a second. `client` is the
  // address of who sent the request. Any thread, never blocks.
  void add(const Event& event, const http::Request& request, const std::string& client);
  // Blocks: run it on the pool. Before the answer that says something was changed.
  void flush();

  // Any thread.
  std::vector<EndpointStatus> status() const;

 private:
  base::Task<void> keep_synced();
  base::Task<void> end();

  const bool include_references_;
  const EventSource source_;
  base::LoopGroup& loops_;
  base::ThreadPool& pool_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  base::Signal added_;
  base::Signal stopping_;

  bool started_ = false;
  // On the first loop only.
  bool stopped_ = false;
  base::TaskScope scope_;
};

}  // namespace origin

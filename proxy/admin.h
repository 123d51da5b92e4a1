// Admin: the edge's administration, on an address of its own and for those alone who show the
// configured token or a certificate.
//
//   GET  /                a page for people
//   GET  /stats           the same as JSON (status.h)
//   GET  /metrics         Prometheus
//   GET  /blobs/<digest>  whether it is held, since when, why
//   POST /pin             {"digest": …, "pinned": true or false}
//   POST /purge           {"digest": …}, {"upstream": …} or {"repository": …, "upstream": …}:
//                         removes what is held of it (purger.h)
//   POST /warm            {"image": …, …} (warm_request.h): fetches it, and tells (warm.h)
//   POST /events          what registries notify of (registry_events.h); ?upstream= says which does
//
// Errors are JSON {"error": …}. A POST must say that it is JSON, which no other site can make a
// browser do. Lives on the edge's loops.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/metrics.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "http/server.h"
#include "proxy/admin_config.h"
#include "proxy/event_receiver.h"
#include "proxy/routing.h"
#include "proxy/status.h"
#include "proxy/store.h"
#include "proxy/warm.h"

namespace proxy {

class Admin {
 public:
  // What it administers; all of it outlives the server and the workers' tasks.
  struct Edge {
    base::LoopGroup& loops;
    base::ThreadPool& pool;
    Store& store;
    Fills& fills;
    Documents& documents;
    Warmer& warmer;
    WarmQueue& warm_queue;
    Purger& purger;
    base::Metrics& metrics;
    CurrentRouting routing;
    std::function<Status()> status;      // called on the pool
    std::function<int64_t()> unix_time;  // the wall clock, in seconds
  };

  // Binds, unless there are sockets already: base::IoError.
  Admin(Edge edge, const AdminConfig& config, const std::vector<int>& inherited);

  void start();
  // For the connections that come from now on: the certificates, read again.
  // std::runtime_error; the old ones stay in use then.
  void reload_certificates(const AdminConfig& config) {
    if (tls_ && config.tls) tls_->reload(*config.tls);
  }
  // As http::Server::drain().
  void drain(std::chrono::nanoseconds limit, const std::function<void()>& at_deadline) {
    server_.drain(limit, at_deadline);
  }
  http::Server& server() { return server_; }
  uint16_t port() const { return server_.port(); }
  std::string address() const { return server_.address(); }

 private:
  base::Task<void> handle(http::Exchange& exchange);
  base::Task<void> inspect(http::Exchange& exchange, std::string digest);
  base::Task<void> pin(http::Exchange& exchange, const nlohmann::json& what);
  base::Task<void> purge(http::Exchange& exchange, const nlohmann::json& what);
  base::Task<void> warm(http::Exchange& exchange, const nlohmann::json& what);
  base::Task<void> take_events(http::Exchange& exchange);
  bool admits(const http::Request& request) const;
  bool admits_events(const http::Request& request) const;

  Edge edge_;
  const AdminConfig config_;
  EventReceiver events_;
  const std::shared_ptr<http::TlsContext> tls_;  // nullptr: plain
  http::Server server_;
};

}  // namespace proxy

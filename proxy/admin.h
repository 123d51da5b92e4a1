// Admin: the edge's administration, on an address of its own and for those alone who show the
// configured token or a certificate.
//
//   GET  /                a page for people
//   GET  /stats           the same as JSON (status.h)
//   GET  /metrics         Prometheus
//   GET  /blobs/<digest>  whether it is held, and how
//   POST /purge           {"digest": …}: removes it; a fill under way goes on
//
// Errors are JSON {"error": …}. A POST must say that it is JSON, which no other site can make a
// browser do. Lives on the edge's loops.
#pragma once

#include <functional>
#include <string>

#include "base/metrics.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "http/server.h"
#include "proxy/admin_config.h"
#include "proxy/fill.h"
#include "proxy/status.h"

namespace proxy {

class Admin {
 public:
  // What it administers; all of it outlives the server. `status` is called on the pool.
  struct Edge {
    base::LoopGroup& loops;
    base::ThreadPool& pool;
    cache::BlobStore& store;
    Fills& fills;
    base::Metrics& metrics;
    std::function<Status()> status;
  };

  // Binds: base::IoError.
  Admin(Edge edge, const AdminConfig& config);

  void start();
  void drain(std::chrono::nanoseconds limit) { server_.drain(limit); }
  uint16_t port() const { return server_.port(); }
  std::string address() const { return server_.address(); }

 private:
  base::Task<void> handle(http::Exchange& exchange);
  base::Task<void> inspect(http::Exchange& exchange, std::string digest);
  base::Task<void> purge(http::Exchange& exchange);
  base::Task<void> purge_blob(http::Exchange& exchange, oci::Digest digest);
  bool admits(const http::Request& request) const;

  Edge edge_;
  const AdminConfig config_;
  http::Server server_;
};

}  // namespace proxy

// Edge: the CDN node put together: store, fills, routes, error answers, server.
//
//   main → Edge → Edge::handle
//     → Blobs::serve → cache::BlobStore (hit) | Fills (miss) → UpstreamClient
//     → Manifests::serve → Documents → cache::References, UpstreamClient
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "http/access_log.h"
#include "http/server.h"
#include "oci/error.h"
#include "proxy/admin.h"
#include "proxy/blobs.h"
#include "proxy/config.h"
#include "proxy/documents.h"
#include "proxy/edge_health.h"
#include "proxy/fills.h"
#include "proxy/manifests.h"
#include "proxy/monitor.h"
#include "proxy/purger.h"
#include "proxy/routing.h"
#include "proxy/signature_check.h"
#include "proxy/store.h"
#include "proxy/warm_queue.h"
#include "proxy/warmer.h"
#include "proxy/worker.h"

namespace proxy {

// Owned by main's thread; serves on loops of its own.
class Edge {
 public:
  // Opens the cache and binds the listeners, but those that a process had whose place this one
  // takes. base::IoError, std::runtime_error (TLS files).
  explicit Edge(EdgeConfig config, const std::vector<http::ListeningSockets>& taken_over = {});
  ~Edge();

  void start();
  // Takes over what of this configuration can change while serving (the rest stays as it was, which
  // is logged), and reads the certificates again; the old ones stay in use where a file has just
  // gone bad. An upstream that is configured as before keeps its state. A request in flight goes on
  // with what it began with. Any thread.
  void reload(EdgeConfig config);
  // Tells load balancers, by /healthz, that it is about to end, and returns how long to serve on
  // until they have seen it. Any thread.
  std::chrono::nanoseconds leave();
  // For a process that takes the place of this one: what it listens on; accepts nothing and lets go
  // of the cache, serving on what is there and what comes on open connections; the opposite; and
  // that the other goes on listening. Each blocks; on any thread but a loop's. release() throws if
  // the cache cannot be let go of; resume() follows then, too.
  std::vector<http::ListeningSockets> listening() const;
  void release();
  void resume();
  void leave_sockets();
  // Ends what is being served within the drain timeout, then the fills, whose partial blobs stay.
  void stop();
  // The drain timeout, and what stop() waits for now. Any thread.
  std::chrono::nanoseconds drain_timeout() const { return in_force()->config.drain_timeout; }
  std::string waits_for() const { return waits_for_.load(); }

  uint16_t port(size_t listener = 0) const { return server_->port(listener); }
  base::LoopGroup& loops() { return loops_; }
  uint16_t admin_port() const { return admin_->port(); }
  cache::StoreStats stats() const { return store_.stats(); }

 private:
  // What is in force; constant once made.
  struct InForce {
    EdgeConfig config;
    Routing routing;
    std::optional<SignatureCheck> signature;  // nullopt: all get everything
  };

  // With the upstreams of `before` that are configured the same, if there was one.
  static std::shared_ptr<const InForce> make(EdgeConfig config, const InForce* before);
  std::shared_ptr<const InForce> in_force() const;
  std::shared_ptr<const Routing> routing() const;
  std::vector<http::Listen> listens(const EdgeConfig& config,
                                    const std::vector<http::ListeningSockets>& taken_over) const;
  void reload_certificates(const EdgeConfig& config);
  base::Task<void> handle(http::Exchange& exchange);
  http::Response answer_to(const http::Request* request, const std::exception_ptr& thrown) const;

  const EdgeConfig started_with_;  // what takes a new start to change is as it is here
  mutable std::mutex mutex_;
  std::shared_ptr<const InForce> in_force_;  // guarded by mutex_
  const std::string name_;
  http::AccessLog access_log_;  // before the loops that add to it
  base::LoopGroup loops_;
  base::ThreadPool pool_;
  Store store_;
  Workers workers_;
  Fills fills_;
  Blobs blobs_;
  Documents documents_;
  Warmer warmer_;
  Manifests manifests_;
  Purger purger_;
  WarmQueue warm_queue_;
  std::vector<std::shared_ptr<http::TlsContext>> tls_;
  Monitor monitor_;
  EdgeHealth health_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Admin> admin_;  // if it is configured
  std::mutex life_mutex_;         // held while it lets go of the cache or takes it back
  bool stopped_ = false;          // guarded by life_mutex_
  std::atomic<const char*> waits_for_ = "another process that takes over";
};

}  // namespace proxy

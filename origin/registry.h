// Registry: the origin put together: storage, routes, error answers, server.
//
//   main → Registry → Registry::handle → api/<noun> → storage/
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/loop_group.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "http/access_log.h"
#include "http/server.h"
#include "origin/api/context.h"
#include "origin/auth/authorizer.h"
#include "origin/auth/passwords.h"
#include "origin/config.h"
#include "origin/debug_server.h"
#include "origin/events/event_metrics.h"
#include "origin/events/events.h"
#include "origin/health.h"
#include "origin/maintenance/writes.h"
#include "origin/request_metrics.h"
#include "origin/storage/storage.h"
#include "origin/upload_token.h"

namespace origin {

// Owned by main's thread; serves on loops of its own.
class Registry {
 public:
  // Opens the storage and binds the listener. base::IoError, std::runtime_error (TLS files).
  explicit Registry(Config config);
  ~Registry();

  void start();
  // Takes over what of this configuration can change while serving (the rest stays as it was, which
  // is logged), and reads the certificates again; the old ones stay in use where a file has just
  // gone bad. A request in flight goes on with the configuration it began with. Any thread.
  void reload(Config config);
  // Tells load balancers, by /healthz, that it is about to end, and returns how long to serve on
  // until they have seen it. Any thread.
  std::chrono::nanoseconds leave();
  // Ends what is being served within the drain timeout. On any thread but a loop's.
  void stop();
  // The drain timeout, and what stop() waits for now. Any thread.
  std::chrono::nanoseconds drain_timeout() const { return in_force()->config.drain_timeout; }
  std::string waits_for() const { return waits_for_.load(); }

  uint16_t port() const { return server_->port(); }
  // The debug server's; 0 without one.
  uint16_t debug_port() const { return debug_ ? debug_->port() : 0; }
  base::LoopGroup& loops() { return loops_; }

 private:
  // What is in force; constant once made.
  struct InForce {
    InForce(Config of, base::ThreadPool& pool, auth::Passwords& passwords);

    const Config config;
    const auth::Authorizer authorizer;
  };

  std::shared_ptr<const InForce> in_force() const;
  api::Context context(const Config& config) {
    return {config, storage_, pool_, list_pool_, blob_pool_, tokens_, events_.get()};
  }

  base::Task<void> handle(http::Exchange& exchange);
  void add_metrics();
  http::Response answer_to(const http::Request* request, const std::exception_ptr& thrown);

  http::AccessLog access_log_;  // before the loops that add to it
  base::LoopGroup loops_;
  base::ThreadPool pool_;
  base::ThreadPool list_pool_;  // of their own, so that no number of lists delays a push or a pull
  base::ThreadPool blob_pool_;  // of their own, so that no number of large blobs delays others
  base::Metrics metrics_;
  RequestMetrics request_metrics_{metrics_};
  Storage storage_;
  Writes writes_;
  Health health_;
  const UploadTokens tokens_;
  auth::Passwords passwords_;
  mutable std::mutex mutex_;
  std::shared_ptr<const InForce> in_force_;      // guarded by mutex_
  std::unique_ptr<Events> events_;               // none without endpoints
  std::unique_ptr<EventMetrics> event_metrics_;  // of events_
  std::shared_ptr<http::TlsContext> tls_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<UploadPurger> purger_;  // from start() to stop()
  std::unique_ptr<DebugServer> debug_;
  bool stopped_ = false;
  std::atomic<const char*> waits_for_ = "old uploads to be removed";
};

}  // namespace origin

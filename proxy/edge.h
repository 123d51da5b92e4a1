// Edge: the CDN node put together: store, fills, routes, error answers, server.
//
//   main → Edge → Edge::handle → Blobs::serve → cache::BlobStore (hit) | Fills (miss) →
//   UpstreamClient
//                               Manifests::serve → Documents → cache::References, UpstreamClient
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "cache/references.h"
#include "http/server.h"
#include "oci/error.h"
#include "proxy/admin.h"
#include "proxy/blobs.h"
#include "proxy/config.h"
#include "proxy/documents.h"
#include "proxy/fill.h"
#include "proxy/manifests.h"
#include "proxy/monitor.h"
#include "proxy/purger.h"
#include "proxy/routing.h"
#include "proxy/signature_check.h"
#include "proxy/warm_queue.h"
#include "proxy/warmer.h"
#include "proxy/worker.h"

namespace proxy {

// An error as clients need it: OCI JSON that no cache keeps. `name` is the edge's, for Via.
http::Response error_response(const std::string& name, int status, std::string json);

// Owned by main's thread; serves on loops of its own.
class Edge {
 public:
  // Opens the cache and binds the listeners. base::IoError, std::runtime_error (TLS files).
  explicit Edge(EdgeConfig config);
  ~Edge();

  void start();
  // Takes over the signature's keys of this configuration, and reads the certificates again; the
  // old ones stay in use where a file is bad, which is logged. Any thread.
  void reload(const EdgeConfig& fresh);
  // Ends what is being served within the drain timeout, then the fills, whose partial blobs stay.
  void stop();

  uint16_t port(size_t listener = 0) const { return server_->port(listener); }
  base::LoopGroup& loops() { return loops_; }
  uint16_t admin_port() const { return admin_->port(); }
  cache::StoreStats stats() const { return store_.stats(); }

 private:
  // The check in force; null if there is none.
  std::shared_ptr<const SignatureCheck> signature() const;
  base::Task<void> handle(http::Exchange& exchange);
  // Where the request goes; oci::Error (NAME_UNKNOWN) if no upstream is meant.
  Routing::Destination destination(const http::Request& request,
                                   const std::string& repository) const;
  // The same for what only a mirror of whole images has.
  Routing::Destination image_destination(
      const http::Request& request, const std::string& repository,
      oci::ErrorCode unknown = oci::ErrorCode::name_unknown) const;
  http::Response answer_to(const http::Request* request, const std::exception_ptr& thrown) const;

  const EdgeConfig config_;
  base::LoopGroup loops_;
  base::ThreadPool pool_;
  cache::BlobStore store_;
  const Routing routing_;
  Workers workers_;
  Fills fills_;
  Blobs blobs_;
  mutable std::mutex mutex_;
  std::shared_ptr<const SignatureCheck> signature_;  // guarded by mutex_; none: all get everything
  cache::References references_;
  Documents documents_;
  Warmer warmer_;
  Manifests manifests_;
  Purger purger_;
  WarmQueue warm_queue_;
  std::vector<std::shared_ptr<http::TlsContext>> tls_;
  Monitor monitor_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<Admin> admin_;  // if it is configured
  bool stopped_ = false;
};

}  // namespace proxy

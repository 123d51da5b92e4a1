// Registry: the origin put together: storage, routes, error answers, server.
//
//   main → Registry → Registry::handle → api/<noun> → storage/
#pragma once

#include <memory>
#include <vector>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "http/server.h"
#include "origin/api/context.h"
#include "origin/config.h"
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
  // Reads the certificates again; the old ones stay in use where a file is bad, which is logged.
  void reload();
  // Ends what is being served within the drain timeout.
  void stop();

  uint16_t port() const { return server_->port(); }

 private:
  base::Task<void> handle(http::Exchange& exchange);
  http::Response answer_to(const http::Request* request, const std::exception_ptr& thrown) const;

  const Config config_;
  base::LoopGroup loops_;
  base::ThreadPool pool_;
  Storage storage_;
  const UploadTokens tokens_;
  const api::Context context_;
  std::shared_ptr<http::TlsContext> tls_;
  std::unique_ptr<http::Server> server_;
  bool stopped_ = false;
};

}  // namespace origin

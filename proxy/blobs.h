// GET and HEAD of blobs: from the store, from a fill under way, or by starting one.
// (distribution-spec "Pulling blobs"; Cache-Status RFC 9211; Age RFC 9111 §5.1; Via RFC 9110
// §7.6.3)
#pragma once

#include <atomic>
#include <string>

#include "base/task.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "http/body.h"
#include "http/content.h"
#include "proxy/fills.h"
#include "proxy/routing.h"
#include "proxy/store.h"

namespace proxy {

// Thread-safe; one for all loops. Owned by Edge.
class Blobs {
 public:
  // `name` is the edge's own, in Via and Cache-Status.
  Blobs(base::ThreadPool& pool, Store& store, Fills& fills, std::string name)
      : pool_(pool), store_(store), fills_(fills), name_(std::move(name)) {}

  // Of the requests that may be in flight, as many may be for blobs that are not held as leave room
  // for hits; more are told to come again: an upstream that hangs holds up what needs it alone.
  // REQUIRES: the method is GET or HEAD.
  base::Task<void> serve(http::Exchange& exchange, Routing::Destination from, std::string digest,
                         size_t max_requests);

 private:
  base::Task<void> serve_hit(http::Exchange& exchange, BlobName name,
                             std::shared_ptr<const cache::Blob> blob);
  base::Task<void> serve_head(http::Exchange& exchange, BlobName name);
  base::Task<void> serve_miss(http::Exchange& exchange, BlobName name);
  base::Task<void> serve_ending(http::Exchange& exchange, BlobName name, Ending ending);
  http::ContentInfo content(const http::Request& request, const oci::Digest& digest, uint64_t size,
                            const std::string& cache_status) const;

  base::ThreadPool& pool_;
  Store& store_;
  Fills& fills_;
  const std::string name_;
  std::atomic<size_t> misses_ = 0;  // in flight
};

}  // namespace proxy

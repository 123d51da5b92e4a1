// Warm: gets images into the cache because an operator wants them there, and tells how far it is.
// Blobs come by the same fills as for clients.
#pragma once

#include "base/task.h"
#include "base/thread_pool.h"
#include "http/body.h"
#include "proxy/documents.h"
#include "proxy/purger.h"
#include "proxy/warm_request.h"
#include "proxy/warmer.h"

namespace proxy {

// What it works with; all of it outlives the workers' tasks.
struct WarmParts {
  base::ThreadPool& pool;
  Documents& documents;
  Warmer& warmer;
  Purger& purger;
};

// Answers with lines of JSON (application/x-ndjson) as things happen, each an object with "event":
//
//   image     "image", "digest", "manifests", "blobs", "bytes": what belongs to it; or "error"
//   blob      "digest", "size", "result": held, fetched or failed, with "error"
//   progress  "blobs", "bytes": how much of the image is there; once a second meanwhile
//   end       "images", "failed_images", "held", "fetched", "failed", "bytes": what was fetched
//
// An image or a blob that cannot be had does not end it; a client that leaves does, but for the
// few fills that it has begun. A tag is asked for anew, even within its lifetime.
base::Task<void> serve_warm(WarmParts parts, http::Exchange& exchange, WarmRequest request,
                            int64_t now);

}  // namespace proxy

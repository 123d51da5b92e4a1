// Warmer: gets whole images into the cache: what a reference leads to, manifest by manifest, and
// then their blobs. For an operator who asks for it, and after a manifest was served if the
// upstream is so configured, because its client asks for the blobs next.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/thread_pool.h"
#include "oci/manifest.h"
#include "proxy/blob_fills.h"
#include "proxy/documents.h"
#include "proxy/fills.h"
#include "proxy/store.h"
#include "proxy/worker.h"

namespace proxy {

// An image, or a part of its platforms.
struct Image {
  oci::Digest digest;                  // what the reference leads to
  std::vector<oci::Digest> manifests;  // that one, and of an index the chosen children
  std::vector<oci::Descriptor> blobs;  // their configs and layers, each once
};

// Thread-safe. The workers are stopped, and with them every prefetch, before it is destroyed.
class Warmer {
 public:
  Warmer(Workers& workers, base::ThreadPool& pool, Store& store, Documents& documents, Fills& fills)
      : workers_(workers), pool_(pool), store_(store), documents_(documents), fills_(fills) {}

  // What belongs to the image of this manifest; manifests that are not kept are fetched, and kept.
  // Of an index the children for these platforms count, or all if none is given. An Ending if one
  // of the manifests is not to be had, or is no image.
  base::Task<std::variant<Image, Ending>> resolve(DocumentName name,
                                                  std::vector<oci::Platform> platforms);

  // Its blobs on their way into the store.
  BlobFills fill(DocumentName name, Image image) {
    return {workers_, store_, fills_, std::move(name), std::move(image.blobs)};
  }

  struct Warmed {
    Ending ending;     // the first that is not `verified`, after all were tried; else `verified`
    size_t blobs = 0;  // that belong to it
  };
  // Both: gets the image into the cache, of the platforms that its upstream is configured with.
  base::Task<Warmed> warm(DocumentName name);

  // Starts to get what belongs to a manifest that was just served, and does not wait. Of one that
  // is being prefetched already, or beside many others, nothing is started.
  void prefetch(const DocumentName& name, const Document& document);

 private:
  base::Task<void> run_prefetch(DocumentName name, oci::Digest digest);

  Workers& workers_;
  base::ThreadPool& pool_;
  Store& store_;
  Documents& documents_;
  Fills& fills_;

  std::mutex mutex_;
  std::set<oci::Digest> prefetching_;  // guarded by mutex_
};

}  // namespace proxy

// BlobFills: the blobs of an image on their way into the store, a few at a time. They come by the
// same fills as for clients.
//
// Belongs to one coroutine, on a worker's loop. The fills that it has begun go on when it is
// destroyed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/task.h"
#include "oci/manifest.h"
#include "proxy/document.h"
#include "proxy/fills.h"
#include "proxy/store.h"
#include "proxy/worker.h"

namespace proxy {

class BlobFills {
 public:
  // Of the image of this manifest.
  BlobFills(Workers& workers, Store& store, Fills& fills, DocumentName manifest,
            std::vector<oci::Descriptor> blobs);

  struct Ended {
    oci::Descriptor blob;
    Ending ending;
    bool held = false;  // it was there already
  };
  // Waits for the next that is there, or is not to be had. nullopt at the deadline, or if none is
  // left: see done().
  base::Task<std::optional<Ended>> next(base::TimePoint deadline = base::kForever);
  bool done() const;
  // Bytes that are there of those under way.
  uint64_t stored() const;

 private:
  struct Running;
  static base::Task<void> run(Fills* fills, BlobName name, oci::Descriptor blob,
                              std::shared_ptr<Running> running);

  Workers& workers_;
  Store& store_;
  Fills& fills_;
  const DocumentName manifest_;
  const std::vector<oci::Descriptor> blobs_;
  size_t begun_ = 0;                        // of blobs_
  const std::shared_ptr<Running> running_;  // shared with the tasks
};

}  // namespace proxy

// The body of a hit: from the store, and where its copy proves bad (EIO, a file too short), from a
// fill. The copy is dropped then, and the client does not notice.
#pragma once

#include <memory>
#include <optional>

#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "http/content.h"
#include "proxy/fill_source.h"
#include "proxy/fills.h"
#include "proxy/store.h"

namespace proxy {

// One per response. Throws http::ConnectionError if the fill fails, too.
class HitSource : public http::ContentSource {
 public:
  HitSource(base::ThreadPool& pool, Store& store, Fills& fills, BlobName name,
            std::shared_ptr<const cache::Blob> blob)
      : pool_(pool), store_(store), fills_(fills), name_(std::move(name)), blob_(std::move(blob)) {}
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  base::Task<void> begin_fill();

  base::ThreadPool& pool_;
  Store& store_;
  Fills& fills_;
  const BlobName name_;
  const std::shared_ptr<const cache::Blob> blob_;
  std::optional<FillSource> fill_;  // once the copy proved bad
};

}  // namespace proxy

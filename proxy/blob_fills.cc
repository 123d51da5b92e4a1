#include "proxy/blob_fills.h"

#include <deque>
#include <set>
#include <utility>

#include "base/signal.h"

namespace proxy {
namespace {

constexpr size_t kFillsAtOnce = 4;

}  // namespace

struct BlobFills::Running {
  std::set<oci::Digest> digests;
  std::deque<Ended> ended;
  base::Signal changed;
};

BlobFills::BlobFills(Workers& workers, Store& store, Fills& fills, DocumentName manifest,
                     std::vector<oci::Descriptor> blobs)
    : workers_(workers),
      store_(store),
      fills_(fills),
      manifest_(std::move(manifest)),
      blobs_(std::move(blobs)),
      running_(std::make_shared<Running>()) {}

bool BlobFills::done() const {
  return begun_ == blobs_.size() && running_->digests.empty() && running_->ended.empty();
}

uint64_t BlobFills::stored() const {
  uint64_t bytes = 0;
  for (const oci::Digest& digest : running_->digests) {
    const std::shared_ptr<Fill> fill = fills_.find(digest);
    if (fill) bytes += fill->progress.stored();
  }
  return bytes;
}

base::Task<std::optional<BlobFills::Ended>> BlobFills::next(base::TimePoint deadline) {
  while (!done()) {
    const base::Signal::Ticket ticket = running_->changed.ticket();
    if (!running_->ended.empty()) {
      Ended ended = std::move(running_->ended.front());
      running_->ended.pop_front();
      co_return ended;
    }
    if (begun_ < blobs_.size() && running_->digests.size() < kFillsAtOnce) {
      const oci::Descriptor& blob = blobs_[begun_++];
      if (store_.contains(blob.digest)) co_return Ended{blob, {Outcome::verified, "", ""}, true};
      running_->digests.insert(blob.digest);
      workers_.here().tasks.spawn(
          run(&fills_, {manifest_.upstream, manifest_.repository, blob.digest, manifest_.cdn_loop},
              blob, running_));
      continue;
    }
    const bool woken = co_await running_->changed.wait(ticket, deadline);
    if (!woken) co_return std::nullopt;
  }
  co_return std::nullopt;
}

base::Task<void> BlobFills::run(Fills* fills, BlobName name, oci::Descriptor blob,
                                std::shared_ptr<Running> running) {
  Ending ending = co_await fills->fetch(std::move(name));
  running->digests.erase(blob.digest);
  running->ended.push_back({std::move(blob), std::move(ending)});
  running->changed.notify();
}

}  // namespace proxy

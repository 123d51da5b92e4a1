#include "proxy/warm_queue.h"

#include <glog/logging.h>

namespace proxy {
namespace {

constexpr size_t kMostWaiting = 1000;

}  // namespace

bool WarmQueue::add(DocumentName manifest) {
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return false;
    if (waiting_.size() == kMostWaiting) {
      LOG(WARNING) << manifest.key() << " was pushed and is not warmed: " << kMostWaiting
                   << " others wait for it already";
      return false;
    }
    waiting_.push_back(std::move(manifest));
    if (std::exchange(running_, true)) return true;
  }
  workers_.here().tasks.spawn(run());
  return true;
}

void WarmQueue::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  waiting_.clear();
}

std::optional<DocumentName> WarmQueue::next() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    running_ = false;
    return std::nullopt;
  }
  DocumentName manifest = std::move(waiting_.front());
  waiting_.pop_front();
  return manifest;
}

base::Task<void> WarmQueue::run() {
  while (true) {
    const std::optional<DocumentName> manifest = next();
    if (!manifest) co_return;
    const Warmer::Warmed warmed = co_await warmer_.warm(*manifest);
    if (warmed.ending.outcome == Outcome::verified) {
      LOG(INFO) << manifest->key() << " was pushed and is warm: " << warmed.blobs << " blobs";
    } else {
      LOG(WARNING) << manifest->key()
                   << " was pushed and could not be warmed: " << warmed.ending.why;
    }
  }
}

}  // namespace proxy

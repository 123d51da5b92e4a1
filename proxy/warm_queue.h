// WarmQueue: images that are to be in the cache because their registry says that they were pushed.
// They are fetched one after the other, in the background.
#pragma once

#include <deque>
#include <mutex>

#include "proxy/documents.h"
#include "proxy/warmer.h"
#include "proxy/worker.h"

namespace proxy {

// Thread-safe. The workers are stopped before it is destroyed.
class WarmQueue {
 public:
  WarmQueue(Workers& workers, Warmer& warmer) : workers_(workers), warmer_(warmer) {}

  // False if too many wait already: clients will fetch this one. On a worker's loop.
  bool add(DocumentName manifest);
  // Begins no further one. Any thread.
  void stop();

 private:
  base::Task<void> run();
  std::optional<DocumentName> next();

  Workers& workers_;
  Warmer& warmer_;
  std::mutex mutex_;  // guards what follows
  std::deque<DocumentName> waiting_;
  bool running_ = false;
  bool stopped_ = false;
};

}  // namespace proxy

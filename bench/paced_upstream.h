// An upstream that takes its time: blobs from memory over TLS, with ranges, each answer begun after
// a delay and sent at a limited rate. In this process, on a loop of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "bench/blobs.h"
#include "bench/servers.h"
#include "http/server.h"

namespace bench {

struct Pace {
  std::chrono::milliseconds delay{0};  // before an answer's head
  uint64_t bytes_per_second = 0;       // of each answer; 0: no limit
};

class PacedUpstream {
 public:
  // `blobs` outlive it.
  PacedUpstream(const Setup& setup, const std::vector<Blob>& blobs, Pace pace);
  ~PacedUpstream();

  uint16_t port() const { return server_->port(); }
  uint64_t requests() const { return requests_; }
  uint64_t bytes_sent() const { return sent_; }

 private:
  class Source;
  base::Task<void> handle(http::Exchange& exchange);

  const std::vector<Blob>& blobs_;
  const Pace pace_;
  std::atomic<uint64_t> requests_ = 0;
  std::atomic<uint64_t> sent_ = 0;
  base::LoopGroup loops_{1};
  base::ThreadPool pool_{1};
  std::unique_ptr<http::Server> server_;
};

}  // namespace bench

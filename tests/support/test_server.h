// A server on port 0 with its loops and pool, and what it wrote to its access log.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "http/server.h"

namespace test {

struct Access {
  std::string method;
  std::string target;
  int status = 0;
  uint64_t body_bytes = 0;
  bool complete = false;
};

struct TestServerOptions {
  http::ServerLimits limits;
  std::shared_ptr<http::TlsContext> tls;
  base::Clock* clock = &base::Clock::system();
  size_t loops = 1;
  std::string address = "127.0.0.1:0";
};

class TestServer {
 public:
  explicit TestServer(http::Handler handler, const TestServerOptions& options = {})
      : loops_(options.loops, *options.clock),
        pool_(2),
        server_(loops_, pool_,
                {.limits = options.limits,
                 .handler = std::move(handler),
                 .on_access = [this](const http::AccessRecord& r) { add(r); }},
                {{options.address, options.tls}}) {
    server_.start();
  }

  uint16_t port() const { return server_.port(); }
  http::Server& server() { return server_; }
  base::LoopGroup& loops() { return loops_; }
  base::ThreadPool& pool() { return pool_; }

  // Blocks until the loops have dealt with what the kernel has for them and with timers that are
  // due: accepted, read a head, handed it to the handler, each in a turn of its own.
  void settle() {
    for (size_t turn = 0; turn < 10; ++turn) {
      for (size_t i = 0; i < loops_.size(); ++i) loops_.call(i, [] {});
    }
  }
  // Blocks until that many exchanges have ended.
  std::vector<Access> wait_for_accesses(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return accesses_.size() >= count; });
    return accesses_;
  }

 private:
  void add(const http::AccessRecord& record) {
    const std::lock_guard lock(mutex_);
    accesses_.push_back({record.request.method, record.request.target, record.status,
                         record.body_bytes, record.complete});
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Access> accesses_;  // guarded by mutex_
  base::LoopGroup loops_;
  base::ThreadPool pool_;
  http::Server server_;
};

}  // namespace test

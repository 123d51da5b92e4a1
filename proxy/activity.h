// Activity: what clients ask of the edge and get: counted for Prometheus and for the administrator,
// and what is being served now.
//
// Every request passes twice: InProgress where the handler begins, and record() from the server's
// on_access when the exchange has ended. What became of it at the cache is read from the
// Cache-Status that it was answered with (RFC 9211), so that the handlers need not count. Labels
// are of closed lists, never of what a client sends.
#pragma once

#include <array>
#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop_group.h"
#include "base/metrics.h"
#include "http/body.h"
#include "http/server.h"

namespace proxy {

// What the cache had to do with an answer.
enum class CacheResult { hit, collapsed, miss, stale, none };
inline constexpr size_t kCacheResults = 5;
std::string_view to_string(CacheResult result);

class Activity {
 public:
  // The loops must outlive it, and it the requests.
  Activity(base::LoopGroup& loops, base::Metrics& metrics);

  // A request as long as it is handled. Lives on its loop.
  class InProgress : public boost::intrusive::list_base_hook<> {
   public:
    // `kind` is what is asked for, a text that lives for ever: "blob", "manifest", …
    InProgress(Activity& activity, http::Exchange& exchange, std::string_view kind);
    ~InProgress();
    InProgress(const InProgress&) = delete;

   private:
    friend class Activity;
    const http::Exchange& exchange_;
    const base::TimePoint began_;
    boost::intrusive::list<InProgress>& all_;
  };

  void record(const http::AccessRecord& record);

  struct Serving {
    std::string client;
    std::string method;
    std::string path;
    int status = 0;
    uint64_t bytes = 0;
    double seconds = 0;
  };
  // What is being served now. Blocks until every loop has told: on the pool only.
  std::vector<Serving> serving() const;

  struct Totals {
    std::array<uint64_t, kCacheResults> requests{};
    std::array<uint64_t, kCacheResults> bytes{};
    uint64_t failed = 0;  // answered 5xx
    uint64_t broken = 0;  // ended before the response did
  };
  Totals totals() const;

 private:
  static constexpr size_t kKinds = 6;
  static constexpr size_t kStatuses = 500;  // 100 to 599

  base::Counter& requests(size_t kind, size_t result, size_t status);
  boost::intrusive::list<InProgress>& here();

  base::LoopGroup& loops_;
  base::Metrics& metrics_;
  // One for each loop, touched on it only.
  std::vector<boost::intrusive::list<InProgress>> in_progress_;
  // A series is made when it is first counted; from then on it is found without a lock.
  std::vector<std::atomic<base::Counter*>> requests_{kKinds * kCacheResults * kStatuses};
  std::array<base::Counter*, kCacheResults> bytes_{};
  std::array<base::Histogram*, kCacheResults> durations_{};
  base::Counter& broken_;
  std::array<std::atomic<uint64_t>, kCacheResults> answered_{};
  std::atomic<uint64_t> failed_ = 0;
};

}  // namespace proxy

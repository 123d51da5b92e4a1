// Endpoint: one listener, told of every event it does not ignore, in order, one POST each.
//
// Whether it answers concerns nobody else: events wait in its queue until it takes them, and what
// was being sent when the program stops is sent again by the next. So a listener may see an event
// twice, with the same id, but misses none.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/signal.h"
#include "base/thread_pool.h"
#include "http/client.h"
#include "origin/events/config.h"
#include "origin/events/event.h"
#include "origin/events/queue.h"

namespace origin {

// For metrics; see event_metrics.
struct EndpointStatus {
  std::string name;
  std::string url;
  uint64_t pending = 0;                      // events that wait
  uint64_t dropped = 0;                      // lost by the queue
  uint64_t events = 0;                       // for this endpoint, since the start
  uint64_t successes = 0;                    // attempts that were accepted
  uint64_t failures = 0;                     // that got another status
  uint64_t errors = 0;                       // that got no answer
  std::map<std::string, uint64_t> statuses;  // answers, such as "200 OK"
};

// How long to wait after so many failures in a row: nothing before the threshold, then the backoff,
// doubled for each further failure up to a minute. `jitter`, from 0 to 1, adds up to a quarter, so
// that replicas do not come back together.
base::Duration retry_delay(const EndpointConfig& config, uint64_t failures, double jitter);

class Endpoint {
 public:
  // Opens the queue; throws as EventQueue does. The loop and the pool must outlive run().
  Endpoint(EndpointConfig config, const NotificationsConfig& notifications, base::EventLoop& loop,
           base::ThreadPool& pool);

  // The event is on its way, unless it is ignored; on disk after queue().flush(). Any thread.
  void offer(const Event& event, const std::string& envelope);
  EventQueue& queue() { return queue_; }

  // Sends until stop(), on the loop, as does stop(), which waits for nothing.
  base::Task<void> run();
  void stop();

  // Any thread.
  EndpointStatus status() const;

 private:
  base::Task<bool> send(http::Client& client, std::string event);
  base::Task<void> pause(std::string why);
  void count_attempt(std::optional<int> status, bool accepted);
  std::string logged_name() const;

  const EndpointConfig config_;
  base::EventLoop& loop_;
  base::ThreadPool& pool_;
  EventQueue queue_;
  base::Signal added_;
  base::Signal stopping_;

  // On the loop only.
  bool stopped_ = false;
  http::Client* client_ = nullptr;  // while run() has one
  uint64_t failures_in_a_row_ = 0;

  std::atomic<uint64_t> events_ = 0;
  mutable std::mutex mutex_;
  EndpointStatus counted_;  // guarded by mutex_; what is counted while sending
};

}  // namespace origin

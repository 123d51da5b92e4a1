// Handlers, and a request, for the tests of connections and servers.
#pragma once

#include <atomic>
#include <string>

#include "base/event_loop.h"
#include "base/signal.h"
#include "base/task.h"
#include "http/exchange.h"

namespace http {

inline const std::string kGet = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

// Never looks at the request body.
inline base::Task<void> deaf(Exchange& e) {
  Response response{.body = "deaf"};
  co_await e.response.send(std::move(response));
}

// Counts itself, and writes nothing, but ends when its client has left.
inline base::Task<void> outlast(Exchange* e, std::atomic<size_t>* entered) {
  ++*entered;
  entered->notify_all();
  while (!e->response.client_left()) co_await base::EventLoop::current()->yield();
}

// Holds exchanges until the test lets them go.
class Hold {
 public:
  Handler handler() {
    return [this](Exchange& e) { return wait(&e, this); };
  }
  void wait_for_entered(size_t count) {
    for (size_t seen = entered_; seen < count; seen = entered_) entered_.wait(seen);
  }
  void release() {
    released_ = true;
    changed_.notify();
  }
  size_t entered() const { return entered_; }

 private:
  static base::Task<void> wait(Exchange* e, Hold* hold) {
    ++hold->entered_;
    hold->entered_.notify_all();
    while (true) {
      const base::Signal::Ticket ticket = hold->changed_.ticket();
      if (hold->released_) break;
      co_await hold->changed_.wait(ticket);
    }
    Response response{.body = "held"};
    co_await e->response.send(std::move(response));
  }

  base::Signal changed_;
  std::atomic<bool> released_ = false;
  std::atomic<size_t> entered_ = 0;
};

}  // namespace http

// Signal: coroutines on any loop wait for a state, held elsewhere, to change; any thread notifies.
//
// Take a ticket, look at the state, then wait with the ticket: a notification in between is not
// lost. A wake-up says only that something changed, so look again.
//
//   while (true) {
//     const Signal::Ticket ticket = changed.ticket();
//     if (done()) break;
//     co_await changed.wait(ticket);
//   }
//
// Thread-safe. Must outlive its waiters and every call of notify().
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/event_loop.h"

namespace base {

class Signal {
 public:
  using Ticket = uint64_t;

  Ticket ticket() const { return version_.load(std::memory_order_acquire); }

  // Wakes everyone who waits with a ticket taken before this call.
  void notify();

  // Resumes on the awaiting loop, true when notified since the ticket was taken, false at the
  // deadline.
  auto wait(Ticket ticket, TimePoint deadline = kForever) {
    return Awaiter{*this, ticket, deadline};
  }

 private:
  // Shared between the notifier, the timer and the waiting frame: whoever comes first resumes it.
  struct Waiter {
    EventLoop* loop = nullptr;
    std::coroutine_handle<> handle;
    std::optional<EventLoop::Timer> timer;  // touched on the loop only
    bool resumed = false;                   // touched on the loop only
    bool notified = false;                  // touched on the loop only
  };
  struct Awaiter {
    Signal& signal;
    Ticket ticket;
    TimePoint deadline;
    std::shared_ptr<Waiter> waiter = nullptr;
    bool await_ready() const noexcept { return signal.ticket() != ticket; }
    bool await_suspend(std::coroutine_handle<> handle);
    bool await_resume() const noexcept { return waiter == nullptr || waiter->notified; }
  };

  std::atomic<Ticket> version_ = 0;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Waiter>> waiters_;  // guarded by mutex_
};

}  // namespace base

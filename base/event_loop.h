// EventLoop: one libevent loop, driven by one thread. Clock: where deadlines come from.
//
// Everything on a loop happens on its thread, except post(), which any thread may call. Nothing on
// a loop may block: work that can goes to ThreadPool::run.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/task.h"

struct event;
struct event_base;

namespace base {

class EventLoop;

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::steady_clock::time_point;
// No deadline at all.
inline constexpr TimePoint kForever = TimePoint::max();

// The source of monotonic time for deadlines. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint now() const = 0;
  // True if timers follow real time; a manual clock wakes its loops itself.
  virtual bool real() const { return true; }
  virtual void attach(EventLoop&) {}
  virtual void detach(EventLoop&) {}

  static Clock& system();
};

// A clock that only moves when a test moves it. Thread-safe.
class ManualClock : public Clock {
 public:
  TimePoint now() const override;
  bool real() const override { return false; }
  void attach(EventLoop& loop) override;
  void detach(EventLoop& loop) override;
  // Moves time forward and has every loop on this clock run the timers that came due.
  void advance(Duration by);

 private:
  mutable std::mutex mutex_;
  TimePoint now_{std::chrono::hours(1)};
  std::vector<EventLoop*> loops_;
};

class EventLoop {
 public:
  using Callback = std::move_only_function<void()>;
  using Timers = std::multimap<TimePoint, Callback>;
  using Timer = Timers::iterator;

  explicit EventLoop(Clock& clock = Clock::system());
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Runs until stop(). The calling thread becomes the loop's thread.
  void run();
  // Makes run() return after the callbacks posted so far. Any thread.
  void stop();
  // Runs the callback on the loop's thread, in order of posting. Any thread; never runs it inline.
  void post(Callback callback);

  // The loop that the calling thread runs, or nullptr.
  static EventLoop* current();

  TimePoint now() const { return clock_.now(); }
  Clock& clock() const { return clock_; }
  TimePoint after(Duration duration) const;

  // Calls back once at or after `when`. The timer is gone once it has fired: cancel only before.
  Timer add_timer(TimePoint when, Callback callback);
  void cancel_timer(Timer timer);

  // Calls back on this loop for each signal of this number that the process receives.
  // Only for the main thread's loop; the loop owns the handler until it is destroyed.
  void on_signal(int number, std::function<void()> callback);

  // co_await loop.sleep(d): resumes after d.
  auto sleep(Duration duration) {
    struct Awaiter {
      EventLoop& loop;
      TimePoint when;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        loop.add_timer(when, [waiter] { waiter.resume(); });
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this, after(duration)};
  }

  // co_await loop.yield(): lets every other ready connection run first.
  auto yield() {
    struct Awaiter {
      EventLoop& loop;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> waiter) const {
        loop.post([waiter] { waiter.resume(); });
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

  // Counts how often the loop has asked the kernel what is ready. Loop's thread only.
  uint64_t turn() const { return turn_; }

  // The libevent base, for the few units that register their own events (FdWaiter, http client).
  // It has no locks: touch it on the loop's thread only.
  event_base* base() const { return base_; }

 private:
  friend class ManualClock;
  void run_posted();
  void run_timers();
  void arm_timer();

  Clock& clock_;
  event_base* base_;
  event* wake_event_;   // wake_fd_ is readable: another thread has posted
  event* soon_event_;   // fires on the next turn: this thread has posted
  event* timer_event_;  // fires when the first of timers_ is due
  int wake_fd_;
  uint64_t turn_ = 0;
  Timers timers_;
  TimePoint armed_for_ = kForever;  // when run_timers() will be called, at the latest
  std::vector<Callback> batch_;     // what run_posted() is running; kept for its memory
  std::vector<event*> signal_events_;
  std::vector<std::unique_ptr<std::function<void()>>> signal_callbacks_;

  std::mutex mutex_;
  std::vector<Callback> posted_;  // guarded by mutex_
};

// Why a wait for a descriptor ended.
enum class Ready { ready, timed_out, cancelled };

// Waits for one descriptor to become readable or writable: at most one coroutine per direction.
// Lives on one loop; does not own the descriptor and must go before it is closed.
class FdWaiter {
 public:
  FdWaiter(EventLoop& loop, int fd);
  ~FdWaiter();
  FdWaiter(const FdWaiter&) = delete;
  FdWaiter& operator=(const FdWaiter&) = delete;

  auto readable(TimePoint deadline = kForever) { return Awaiter{*this, reading_, deadline}; }
  auto writable(TimePoint deadline = kForever) { return Awaiter{*this, writing_, deadline}; }

  // Ends the waits in progress, and all later ones, with Ready::cancelled. Resumes nobody before it
  // returns: the waiting coroutines continue on a later turn of the loop.
  void cancel();
  bool cancelled() const { return cancelled_; }
  // Ends the wait for readability in progress, if there is one, with Ready::cancelled; resumes it
  // on a later turn, as cancel() does.
  void interrupt_read();
  // True while a coroutine waits for that direction.
  bool reading() const { return reading_.waiting != nullptr; }
  bool writing() const { return writing_.waiting != nullptr; }

 private:
  struct Awaiter;
  struct Direction {
    FdWaiter* owner = nullptr;
    event* ev = nullptr;
    // Whether the event is registered with the kernel. It stays so when a wait ends, because the
    // next wait is mostly for the same thing, and is withdrawn when it fires with nobody waiting.
    bool armed = false;
    Awaiter* waiting = nullptr;
    std::optional<EventLoop::Timer> timer;
  };
  struct Awaiter {
    FdWaiter& self;
    Direction& direction;
    TimePoint deadline;
    uint64_t since = 0;  // the loop's turn in which the wait began
    Ready result = Ready::cancelled;
    std::coroutine_handle<> waiter = nullptr;
    bool await_ready() const noexcept { return self.cancelled_; }
    void await_suspend(std::coroutine_handle<> handle);
    Ready await_resume() const noexcept { return result; }
  };
  static void on_event(int fd, short what, void* arg);
  // Takes the coroutine off the direction, with its result; null if nobody waits.
  std::coroutine_handle<> end_wait(Direction& direction, Ready result);
  void cancel_wait(Direction& direction);

  EventLoop& loop_;
  Direction reading_;
  Direction writing_;
  bool cancelled_ = false;
};

// Runs the task on a loop of its own until it ends and returns its result. For tests and for
// commands that do one thing; the calling thread must not be running a loop.
template <typename T>
T run_task(EventLoop& loop, Task<T> task) {
  TaskScope scope;
  std::exception_ptr failure;
  if constexpr (std::is_void_v<T>) {
    auto wrapper = [](EventLoop* l, Task<T> t, std::exception_ptr* error) -> Task<void> {
      try {
        co_await std::move(t);
      } catch (...) {
        *error = std::current_exception();
      }
      l->stop();
    };
    loop.post([&] { scope.spawn(wrapper(&loop, std::move(task), &failure)); });
    loop.run();
    if (failure) std::rethrow_exception(failure);
  } else {
    std::optional<T> result;
    auto wrapper = [](EventLoop* l, Task<T> t, std::optional<T>* out,
                      std::exception_ptr* error) -> Task<void> {
      try {
        out->emplace(co_await std::move(t));
      } catch (...) {
        *error = std::current_exception();
      }
      l->stop();
    };
    loop.post([&] { scope.spawn(wrapper(&loop, std::move(task), &result, &failure)); });
    loop.run();
    if (failure) std::rethrow_exception(failure);
    return std::move(*result);
  }
}

}  // namespace base

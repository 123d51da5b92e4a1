#include "base/event_loop.h"

#include <event2/event.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace base {
namespace {

thread_local EventLoop* current_loop = nullptr;

class SystemClock : public Clock {
 public:
  TimePoint now() const override { return std::chrono::steady_clock::now(); }
};

timeval to_timeval(Duration duration) {
  const auto us =
      std::chrono::ceil<std::chrono::microseconds>(std::max(duration, Duration::zero()));
  return {static_cast<time_t>(us.count() / 1'000'000),
          static_cast<suseconds_t>(us.count() % 1'000'000)};
}

}  // namespace

Clock& Clock::system() {
  static SystemClock clock;
  return clock;
}

TimePoint ManualClock::now() const {
  const std::lock_guard lock(mutex_);
  return now_;
}

void ManualClock::attach(EventLoop& loop) {
  const std::lock_guard lock(mutex_);
  loops_.push_back(&loop);
}

void ManualClock::detach(EventLoop& loop) {
  const std::lock_guard lock(mutex_);
  std::erase(loops_, &loop);
}

void ManualClock::advance(Duration by) {
  const std::lock_guard lock(mutex_);
  now_ += std::chrono::duration_cast<TimePoint::duration>(by);
  for (EventLoop* loop : loops_) loop->post([loop] { loop->run_timers(); });
}

EventLoop::EventLoop(Clock& clock) : clock_(clock) {
  const std::unique_ptr<event_config, decltype(&event_config_free)> config(event_config_new(),
                                                                           &event_config_free);
  CHECK(config != nullptr);
  // Other threads reach a loop through post() alone, so libevent needs no locks of its own.
  CHECK_EQ(event_config_set_flag(config.get(), EVENT_BASE_FLAG_NOLOCK), 0);
  base_ = event_base_new_with_config(config.get());
  CHECK(base_ != nullptr) << "libevent cannot make a loop";
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  PCHECK(wake_fd_ >= 0) << "eventfd";
  wake_event_ = event_new(
      base_, wake_fd_, EV_READ | EV_PERSIST,
      [](int fd, short, void* self) {
        uint64_t count = 0;
        while (::read(fd, &count, sizeof count) < 0 && errno == EINTR) {
        }
        static_cast<EventLoop*>(self)->run_posted();
      },
      this);
  soon_event_ = event_new(
      base_, -1, 0, [](int, short, void* self) { static_cast<EventLoop*>(self)->run_posted(); },
      this);
  timer_event_ = event_new(
      base_, -1, 0, [](int, short, void* self) { static_cast<EventLoop*>(self)->run_timers(); },
      this);
  CHECK(wake_event_ != nullptr && soon_event_ != nullptr && timer_event_ != nullptr);
  CHECK_EQ(event_add(wake_event_, nullptr), 0);
  clock_.attach(*this);
}

EventLoop::~EventLoop() {
  clock_.detach(*this);
  for (event* ev : signal_events_) event_free(ev);
  event_free(timer_event_);
  event_free(soon_event_);
  event_free(wake_event_);
  event_base_free(base_);
  ::close(wake_fd_);
}

void EventLoop::run() {
  CHECK(current_loop == nullptr) << "this thread already runs a loop";
  current_loop = this;
  do {
    ++turn_;
    CHECK_GE(event_base_loop(base_, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY), 0);
  } while (event_base_got_break(base_) == 0);
  current_loop = nullptr;
}

void EventLoop::stop() {
  post([this] { event_base_loopbreak(base_); });
}

void EventLoop::post(Callback callback) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    wake = posted_.empty();
    posted_.push_back(std::move(callback));
  }
  if (!wake) return;
  if (current_loop == this) {
    // The loop is awake: a timer that is already due costs no system call.
    const timeval now{};
    CHECK_EQ(event_add(soon_event_, &now), 0);
    return;
  }
  const uint64_t one = 1;
  while (::write(wake_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

EventLoop* EventLoop::current() { return current_loop; }

TimePoint EventLoop::after(Duration duration) const {
  const TimePoint start = now();
  const auto step = std::chrono::duration_cast<TimePoint::duration>(duration);
  return step >= kForever - start ? kForever : start + step;
}

EventLoop::Timer EventLoop::add_timer(TimePoint when, Callback callback) {
  const Timer timer = timers_.emplace(when, std::move(callback));
  if (timer == timers_.begin()) arm_timer();
  return timer;
}

void EventLoop::cancel_timer(Timer timer) {
  // The libevent timer is left armed: waking once too often is cheaper than re-arming per wait.
  timers_.erase(timer);
}

void EventLoop::on_signal(int number, std::function<void()> callback) {
  auto owned = std::make_unique<std::function<void()>>(std::move(callback));
  event* ev = evsignal_new(
      base_, number, [](int, short, void* f) { (*static_cast<std::function<void()>*>(f))(); },
      owned.get());
  CHECK(ev != nullptr);
  CHECK_EQ(event_add(ev, nullptr), 0);
  signal_events_.push_back(ev);
  signal_callbacks_.push_back(std::move(owned));
}

void EventLoop::run_posted() {
  {
    const std::lock_guard lock(mutex_);
    batch_.swap(posted_);
  }
  for (Callback& callback : batch_) callback();
  batch_.clear();
}

void EventLoop::run_timers() {
  armed_for_ = kForever;
  const TimePoint due = now();
  // No more than are due at this moment: a callback that adds a timer that is due at once must not
  // keep the loop here.
  auto count = std::distance(timers_.begin(), timers_.upper_bound(due));
  for (; count > 0 && !timers_.empty() && timers_.begin()->first <= due; --count) {
    auto node = timers_.extract(timers_.begin());
    node.mapped()();
  }
  arm_timer();
}

void EventLoop::arm_timer() {
  if (timers_.empty()) return;
  const TimePoint first = timers_.begin()->first;
  if (first == kForever || first >= armed_for_) return;
  const Duration left = first - now();
  if (clock_.real()) {
    const timeval delay = to_timeval(left);
    CHECK_EQ(event_add(timer_event_, &delay), 0);
  } else if (left <= Duration::zero()) {
    // Time has already been moved past it, and may not be moved again.
    post([this] { run_timers(); });
  } else {
    return;
  }
  armed_for_ = first;
}

FdWaiter::FdWaiter(EventLoop& loop, int fd) : loop_(loop) {
  reading_.owner = writing_.owner = this;
  reading_.ev = event_new(loop.base(), fd, EV_READ | EV_PERSIST, &FdWaiter::on_event, &reading_);
  writing_.ev = event_new(loop.base(), fd, EV_WRITE | EV_PERSIST, &FdWaiter::on_event, &writing_);
  CHECK(reading_.ev != nullptr && writing_.ev != nullptr);
}

FdWaiter::~FdWaiter() {
  CHECK(reading_.waiting == nullptr && writing_.waiting == nullptr)
      << "FdWaiter destroyed while a coroutine waits on it";
  event_free(reading_.ev);
  event_free(writing_.ev);
}

void FdWaiter::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  CHECK(direction.waiting == nullptr) << "two coroutines wait for one direction of a descriptor";
  waiter = handle;
  since = self.loop_.turn();
  direction.waiting = this;
  if (!direction.armed) {
    CHECK_EQ(event_add(direction.ev, nullptr), 0);
    direction.armed = true;
  }
  if (deadline == kForever) return;
  Direction* waiting = &direction;
  direction.timer = self.loop_.add_timer(deadline, [waiting] {
    waiting->timer.reset();
    waiting->owner->end_wait(*waiting, Ready::timed_out).resume();
  });
}

void FdWaiter::on_event(int, short, void* arg) {
  auto* direction = static_cast<Direction*>(arg);
  if (direction->waiting == nullptr) {
    CHECK_EQ(event_del(direction->ev), 0);
    direction->armed = false;
    return;
  }
  // What the kernel said before the wait began is no answer to it: the coroutine may have used up
  // the data since. If it is still so, the kernel says it again in the next turn.
  if (direction->waiting->since == direction->owner->loop_.turn()) return;
  direction->owner->end_wait(*direction, Ready::ready).resume();
}

std::coroutine_handle<> FdWaiter::end_wait(Direction& direction, Ready result) {
  if (direction.waiting == nullptr) return nullptr;
  if (direction.timer) loop_.cancel_timer(*std::exchange(direction.timer, std::nullopt));
  Awaiter* awaiter = std::exchange(direction.waiting, nullptr);
  awaiter->result = result;
  return awaiter->waiter;
}

void FdWaiter::cancel_wait(Direction& direction) {
  const std::coroutine_handle<> waiter = end_wait(direction, Ready::cancelled);
  if (waiter) loop_.post([waiter] { waiter.resume(); });
}

void FdWaiter::cancel() {
  cancelled_ = true;
  cancel_wait(reading_);
  cancel_wait(writing_);
}

void FdWaiter::interrupt_read() { cancel_wait(reading_); }

}  // namespace base

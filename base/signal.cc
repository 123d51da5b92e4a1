#include "base/signal.h"

#include <algorithm>

namespace base {

void Signal::notify() {
  std::vector<std::shared_ptr<Waiter>> woken;
  {
    const std::lock_guard lock(mutex_);
    version_.fetch_add(1, std::memory_order_release);
    woken.swap(waiters_);
  }
  for (std::shared_ptr<Waiter>& waiter : woken) {
    EventLoop* loop = waiter->loop;
    loop->post([waiter = std::move(waiter)] {
      if (waiter->resumed) return;
      waiter->resumed = waiter->notified = true;
      if (waiter->timer) waiter->loop->cancel_timer(*waiter->timer);
      waiter->handle.resume();
    });
  }
}

bool Signal::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  auto entry = std::make_shared<Waiter>();
  entry->loop = EventLoop::current();
  entry->handle = handle;
  CHECK(entry->loop != nullptr) << "Signal::wait awaited outside a loop";
  {
    const std::lock_guard lock(signal.mutex_);
    if (signal.version_.load(std::memory_order_acquire) != ticket) return false;
    // The timer is set before the entry is visible: a notifier may post its wake-up at once, but
    // that runs on this loop, after this function.
    if (deadline != kForever) {
      Signal* owner = &signal;
      entry->timer = entry->loop->add_timer(deadline, [owner, entry] {
        entry->resumed = true;
        {
          const std::lock_guard relock(owner->mutex_);
          // A notifier that has taken the entry away has posted, or will, and comes second.
          entry->notified = std::erase(owner->waiters_, entry) == 0;
        }
        entry->handle.resume();
      });
    }
    waiter = entry;
    signal.waiters_.push_back(std::move(entry));
  }
  return true;
}

}  // namespace base

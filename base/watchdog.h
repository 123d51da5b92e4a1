// Watchdog: says regularly that every loop of the program still runs, and nothing once one does
// not.
//
// Lives on one loop, of the main thread, and asks the loops of the group to answer. Ended by its
// destructor; the group must outlive it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/loop_group.h"

namespace base {

class Watchdog {
 public:
  // Looks after the loops four times in `timeout`, and calls `alive` on its own loop if all have
  // answered since the last time.
  Watchdog(EventLoop& loop, LoopGroup& watched, Duration timeout, std::function<void()> alive);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void ask();
  void look();

  EventLoop& loop_;
  LoopGroup& watched_;
  const Duration interval_;
  const std::function<void()> alive_;
  // Shared with the questions on their way, which a loop may answer when this is gone.
  const std::shared_ptr<std::atomic<size_t>> answers_ = std::make_shared<std::atomic<size_t>>(0);
  EventLoop::Timer timer_;
};

}  // namespace base

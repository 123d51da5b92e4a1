// LoopGroup: the worker loops of a program, each on a thread of its own.
//
// The thread that constructs it owns it; loop(i) may be posted to from any thread.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "base/event_loop.h"

namespace base {

class LoopGroup {
 public:
  // Starts `count` loops (0: one per core). Signals are blocked on their threads.
  explicit LoopGroup(size_t count, Clock& clock = Clock::system());
  // Stops and joins every loop. What runs on them must have ended.
  ~LoopGroup();

  size_t size() const { return loops_.size(); }
  EventLoop& loop(size_t i) { return *loops_[i]; }

  // Runs the function, which must not throw, on the loop's thread and returns when it has run. Not
  // from a loop's thread.
  void call(size_t i, std::move_only_function<void()> function);
  // Runs a task on the loop and returns when it has ended; rethrows what it threw. Not from a
  // loop's thread.
  void await(size_t i, std::move_only_function<Task<void>()> start);

 private:
  std::vector<std::unique_ptr<EventLoop>> loops_;
  std::vector<std::jthread> threads_;
};

}  // namespace base

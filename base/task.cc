#include "base/task.h"

namespace base {

void TaskScope::spawn(Task<void> task) {
  ++running_;
  run(this, std::move(task));
}

TaskScope::Detached TaskScope::run(TaskScope* scope, Task<void> task) {
  {
    // The task's frame is destroyed before the scope is told, so that what the frame refers to may
    // go as soon as join() returns.
    Task<void> owned = std::move(task);
    try {
      co_await std::move(owned);
    } catch (const std::exception& e) {
      LOG(ERROR) << "a background task failed: " << e.what();
    }
  }
  scope->ended();
}

void TaskScope::ended() {
  if (--running_ != 0) return;
  for (std::coroutine_handle<> waiter : std::exchange(waiters_, {})) waiter.resume();
}

}  // namespace base

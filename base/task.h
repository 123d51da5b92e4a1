// Task<T>: a lazy coroutine that is awaited exactly once, and TaskScope, which starts tasks nobody
// awaits and counts them so that shutdown can wait.
//
// A task runs on the loop that awaits it and resumes there after every wait. A suspended task is
// never destroyed: to stop one, fail what it waits for (close the descriptor, let the deadline
// pass) and let it unwind. Not thread-safe; a task belongs to one loop.
//
// A coroutine may take references only if its caller awaits it in the same statement; what is given
// to TaskScope::spawn takes its parameters by value. A capturing lambda must not be a coroutine.
#pragma once

#include <glog/logging.h>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

namespace base {

template <typename T>
class Task;

namespace internal {

// Resumes whoever awaited the task, by symmetric transfer so that deep call chains use no stack.
struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> task) const noexcept {
    return task.promise().continuation;
  }
  void await_resume() const noexcept {}
};

struct PromiseBase {
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  void unhandled_exception() { exception = std::current_exception(); }

  std::coroutine_handle<> continuation;
  std::exception_ptr exception;
};

template <typename T>
struct Promise : PromiseBase {
  Task<T> get_return_object();
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() {
    if (exception) std::rethrow_exception(exception);
    return std::move(*value);
  }
  std::optional<T> value;
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void take() const {
    if (exception) std::rethrow_exception(exception);
  }
};

}  // namespace internal

template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = internal::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> continuation) const noexcept {
        handle.promise().continuation = continuation;
        return handle;
      }
      T await_resume() const { return handle.promise().take(); }
    };
    return Awaiter{handle_};
  }

 private:
  Handle handle_;
};

namespace internal {

template <typename T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

}  // namespace internal

// Starts tasks that run on their own and waits for all of them. Lives on one loop and must outlive
// its tasks: co_await join() before destroying it.
class TaskScope {
 public:
  TaskScope() = default;
  TaskScope(const TaskScope&) = delete;
  TaskScope& operator=(const TaskScope&) = delete;
  ~TaskScope() { CHECK_EQ(running_, 0U) << "TaskScope destroyed while tasks run"; }

  // Starts the task at once, on this loop. An exception that leaves it is logged as an error: a
  // task that nobody awaits must handle its own.
  void spawn(Task<void> task);

  // Tasks that have started and not ended.
  size_t running() const { return running_; }

  // Resumes when no task is running.
  auto join() {
    struct Awaiter {
      TaskScope& scope;
      bool await_ready() const noexcept { return scope.running_ == 0; }
      void await_suspend(std::coroutine_handle<> waiter) const { scope.waiters_.push_back(waiter); }
      void await_resume() const noexcept {}
    };
    return Awaiter{*this};
  }

 private:
  // A coroutine that owns itself: its frame is freed when it ends.
  struct Detached {
    struct promise_type {
      Detached get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }
    };
  };
  static Detached run(TaskScope* scope, Task<void> task);
  void ended();

  size_t running_ = 0;
  std::vector<std::coroutine_handle<>> waiters_;
};

}  // namespace base

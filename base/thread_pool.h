// ThreadPool: where blocking work runs. `co_await pool.run([&]{ … })` runs the function on a pool
// thread and resumes on the loop that awaited it, with its result or its exception.
//
// Thread-safe. Must outlive every task that awaits it. The function may refer to the awaiting
// frame: a suspended frame is never destroyed.
#pragma once

#include <condition_variable>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/event_loop.h"
#include "base/task.h"

namespace base {

class ThreadPool {
 public:
  explicit ThreadPool(size_t threads);
  // Finishes what is queued, then joins.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Runs the job on a pool thread; it must not throw. Any thread.
  void submit(std::move_only_function<void()> job);

  template <typename F>
  auto run(F function) {
    using R = std::invoke_result_t<F&>;
    struct Nothing {};
    struct Awaiter {
      ThreadPool& pool;
      F function;
      std::optional<std::conditional_t<std::is_void_v<R>, Nothing, R>> result = std::nullopt;
      std::exception_ptr exception = nullptr;
      EventLoop* loop = EventLoop::current();
      std::coroutine_handle<> waiter = nullptr;

      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> handle) {
        CHECK(loop != nullptr) << "ThreadPool::run awaited outside a loop";
        waiter = handle;
        pool.submit([this] {
          try {
            if constexpr (std::is_void_v<R>) {
              function();
              result.emplace();
            } else {
              result.emplace(function());
            }
          } catch (...) {
            exception = std::current_exception();
          }
          // From here on the frame may be gone at any moment.
          loop->post([handle = waiter] { handle.resume(); });
        });
      }
      R await_resume() {
        if (exception) std::rethrow_exception(exception);
        if constexpr (!std::is_void_v<R>) return std::move(*result);
      }
    };
    return Awaiter{*this, std::move(function)};
  }

  // The same for work that takes as long as its input is large: parsing, hashing. Of little of it a
  // loop does not notice anything, and waiting for a thread would take longer.
  template <typename F>
  Task<std::invoke_result_t<F&>> run_sized(size_t bytes, F function) {
    if (bytes <= kLoopBytes) co_return function();
    co_return co_await run(std::move(function));
  }
  static constexpr size_t kLoopBytes = 64 << 10;

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::move_only_function<void()>> jobs_;  // guarded by mutex_
  bool closing_ = false;                              // guarded by mutex_
  std::vector<std::jthread> threads_;
};

}  // namespace base

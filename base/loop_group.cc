#include "base/loop_group.h"

#include <algorithm>
#include <future>

#include "base/thread_signals.h"

namespace base {
namespace {

Task<void> run_and_tell(std::move_only_function<Task<void>()> start, std::promise<void> done) {
  std::exception_ptr failure;
  try {
    co_await start();
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) {
    done.set_exception(failure);
  } else {
    done.set_value();
  }
}

}  // namespace

LoopGroup::LoopGroup(size_t count, Clock& clock) {
  if (count == 0) count = std::max(1U, std::thread::hardware_concurrency());
  for (size_t i = 0; i < count; ++i) {
    loops_.push_back(std::make_unique<EventLoop>(clock));
    threads_.emplace_back([loop = loops_.back().get()] {
      leave_signals_to_main_thread();
      loop->run();
    });
  }
}

LoopGroup::~LoopGroup() {
  for (auto& loop : loops_) loop->stop();
  threads_.clear();
}

void LoopGroup::call(size_t i, std::move_only_function<void()> function) {
  std::promise<void> done;
  const std::future<void> future = done.get_future();
  // The promise belongs to the loop: it is still being kept when the wait below ends.
  loops_[i]->post([&function, done = std::move(done)]() mutable {
    function();
    done.set_value();
  });
  future.wait();
}

void LoopGroup::await(size_t i, std::move_only_function<Task<void>()> start) {
  std::promise<void> done;
  std::future<void> future = done.get_future();
  TaskScope scope;
  call(i, [&] { scope.spawn(run_and_tell(std::move(start), std::move(done))); });
  future.wait();
  // The scope must see its task end, which it does on the loop right after the promise is kept.
  call(i, [] {});
  future.get();
}

}  // namespace base

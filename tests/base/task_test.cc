#include "base/task.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/event_loop.h"

namespace base {
namespace {

Task<int> number(int value, bool* started) {
  *started = true;
  co_return value;
}

Task<void> await_late(bool* started, bool* started_before_await) {
  Task<int> task = number(1, started);
  *started_before_await = *started;
  co_await std::move(task);
}

TEST(Task, DoesNotStartUntilAwaited) {
  EventLoop loop;
  bool started = false;
  bool started_before_await = true;
  run_task(loop, await_late(&started, &started_before_await));
  EXPECT_FALSE(started_before_await);
  EXPECT_TRUE(started);
}

TEST(Task, IsDestroyedUnstartedWithoutRunning) {
  bool started = false;
  {
    const Task<int> unused = number(1, &started);
  }
  EXPECT_FALSE(started);
}

Task<std::unique_ptr<std::string>> boxed(std::string text) {
  co_return std::make_unique<std::string>(std::move(text));
}

TEST(Task, ReturnsMoveOnlyValues) {
  EventLoop loop;
  EXPECT_EQ(*run_task(loop, boxed("content")), "content");
}

Task<int> failing() {
  throw std::runtime_error("deep down");
  co_return 0;
}

Task<int> passing_on() {
  const int value = co_await failing();
  co_return value;
}

Task<std::string> catching() {
  std::string caught = "nothing";
  try {
    co_await passing_on();
  } catch (const std::runtime_error& e) {
    caught = e.what();
  }
  co_return caught;
}

TEST(Task, ExceptionsReachTheAwaiter) {
  EventLoop loop;
  EXPECT_EQ(run_task(loop, catching()), "deep down");
  EXPECT_THROW(run_task(loop, passing_on()), std::runtime_error);
}

[[gnu::noinline]] uintptr_t stack_position() {
  return reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
}

// Notes the lowest and highest position of the stack that it sees.
struct StackUse {
  uintptr_t low = UINTPTR_MAX;
  uintptr_t high = 0;
  void note() {
    const uintptr_t here = stack_position();
    low = std::min(low, here);
    high = std::max(high, here);
  }
  uintptr_t size() const { return high - low; }
};

constexpr int kDeep = 100'000;
constexpr uintptr_t kSmallStack = 16UL * 1024;

Task<int> nested(int depth, StackUse* stack) {
  stack->note();
  if (depth == 0) co_return 0;
  const int below = co_await nested(depth - 1, stack);
  stack->note();
  co_return below + 1;
}

TEST(Task, DeepAwaitChainsUseNoStack) {
  EventLoop loop;
  StackUse stack;
  EXPECT_EQ(run_task(loop, nested(kDeep, &stack)), kDeep);
  EXPECT_LT(stack.size(), kSmallStack);
}

Task<int> nested_failure(int depth, StackUse* stack) {
  stack->note();
  if (depth == 0) throw std::runtime_error("bottom");
  const int below = co_await nested_failure(depth - 1, stack);
  co_return below;
}

TEST(Task, ExceptionsUnwindDeepChainsWithoutStack) {
  EventLoop loop;
  StackUse stack;
  EXPECT_THROW(run_task(loop, nested_failure(1000, &stack)), std::runtime_error);
  EXPECT_LT(stack.size(), kSmallStack);
}

Task<int> leaf(StackUse* stack) {
  stack->note();
  co_return 1;
}

Task<int> sum_of_leaves(int count, StackUse* stack) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    const int one = co_await leaf(stack);
    sum += one;
  }
  co_return sum;
}

TEST(Task, ManyAwaitsInARowUseNoStack) {
  EventLoop loop;
  StackUse stack;
  EXPECT_EQ(run_task(loop, sum_of_leaves(kDeep, &stack)), kDeep);
  EXPECT_LT(stack.size(), kSmallStack);
}

Task<void> step_twice(EventLoop* loop, std::vector<std::string>* log, std::string name) {
  log->push_back(name + "1");
  co_await loop->yield();
  log->push_back(name + "2");
}

Task<void> spawn_and_join(EventLoop* loop, std::vector<std::string>* log) {
  TaskScope scope;
  co_await scope.join();
  scope.spawn(step_twice(loop, log, "a"));
  scope.spawn(step_twice(loop, log, "b"));
  log->push_back(std::to_string(scope.running()) + " running");
  co_await scope.join();
  log->push_back(std::to_string(scope.running()) + " running");
}

TEST(TaskScope, StartsTasksAtOnceAndJoinsAll) {
  EventLoop loop;
  std::vector<std::string> log;
  run_task(loop, spawn_and_join(&loop, &log));
  EXPECT_EQ(log, (std::vector<std::string>{"a1", "b1", "2 running", "a2", "b2", "0 running"}));
}

Task<void> fail_after_yield(EventLoop* loop) {
  co_await loop->yield();
  throw std::runtime_error("nobody awaits this");
}

Task<bool> join_failing(EventLoop* loop) {
  TaskScope scope;
  scope.spawn(fail_after_yield(loop));
  co_await scope.join();
  co_return scope.running() == 0;
}

TEST(TaskScope, ATaskThatThrowsHasEnded) {
  EventLoop loop;
  EXPECT_TRUE(run_task(loop, join_failing(&loop)));
}

// Sets a flag when the frame that owns it goes.
struct Farewell {
  explicit Farewell(bool* flag) : gone(flag) {}
  Farewell(Farewell&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
  Farewell& operator=(Farewell&&) = delete;
  ~Farewell() {
    if (gone != nullptr) *gone = true;
  }
  bool* gone;
};

Task<void> holding(EventLoop* loop, Farewell /*held*/) { co_await loop->yield(); }

Task<bool> frame_gone_at_join(EventLoop* loop) {
  bool gone = false;
  TaskScope scope;
  scope.spawn(holding(loop, Farewell(&gone)));
  const bool gone_before = gone;
  co_await scope.join();
  co_return gone && !gone_before;
}

TEST(TaskScope, FramesAreGoneWhenJoinReturns) {
  EventLoop loop;
  EXPECT_TRUE(run_task(loop, frame_gone_at_join(&loop)));
}

Task<void> join_and_count(TaskScope* scope, int* joined) {
  co_await scope->join();
  ++*joined;
}

Task<int> several_joiners(EventLoop* loop) {
  std::vector<std::string> log;
  int joined = 0;
  TaskScope work;
  TaskScope joiners;
  work.spawn(step_twice(loop, &log, "a"));
  for (int i = 0; i < 3; ++i) joiners.spawn(join_and_count(&work, &joined));
  co_await joiners.join();
  co_return joined;
}

TEST(TaskScope, WakesEveryJoiner) {
  EventLoop loop;
  EXPECT_EQ(run_task(loop, several_joiners(&loop)), 3);
}

TEST(TaskScopeDeathTest, RefusesToLeaveTasksBehind) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        EventLoop loop;
        TaskScope scope;
        scope.spawn(fail_after_yield(&loop));
      },
      "TaskScope destroyed while tasks run");
}

}  // namespace
}  // namespace base

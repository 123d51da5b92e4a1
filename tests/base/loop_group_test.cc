#include "base/loop_group.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <set>
#include <stdexcept>
#include <thread>

namespace base {
namespace {

TEST(LoopGroup, HasOneLoopPerCoreByDefault) {
  LoopGroup loops(0);
  EXPECT_EQ(loops.size(), std::thread::hardware_concurrency());
}

TEST(LoopGroup, CallsRunOnTheThreadOfTheirLoop) {
  LoopGroup loops(3);
  std::set<std::thread::id> threads = {std::this_thread::get_id()};
  for (size_t i = 0; i < loops.size(); ++i) {
    const EventLoop* loop = nullptr;
    loops.call(i, [&] {
      loop = EventLoop::current();
      threads.insert(std::this_thread::get_id());
    });
    EXPECT_EQ(loop, &loops.loop(i));
  }
  EXPECT_EQ(threads.size(), 4U);
}

Task<void> some_turns(EventLoop* loop, int* turns) {
  for (int i = 0; i < 100; ++i) {
    co_await loop->yield();
    ++*turns;
  }
}

TEST(LoopGroup, AwaitReturnsWhenTheTaskHasEnded) {
  LoopGroup loops(2);
  for (int round = 0; round < 50; ++round) {
    int turns = 0;
    loops.await(1, [&] { return some_turns(&loops.loop(1), &turns); });
    EXPECT_EQ(turns, 100);
  }
}

Task<void> fails(EventLoop* loop) {
  co_await loop->yield();
  throw std::runtime_error("on the loop");
}

TEST(LoopGroup, AwaitRethrows) {
  LoopGroup loops(1);
  EXPECT_THROW(loops.await(0, [&] { return fails(&loops.loop(0)); }), std::runtime_error);
}

TEST(LoopGroup, LeavesSignalsToTheMainThread) {
  LoopGroup loops(1);
  sigset_t blocked;
  loops.call(0, [&] { pthread_sigmask(SIG_BLOCK, nullptr, &blocked); });
  for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGCHLD}) {
    EXPECT_EQ(sigismember(&blocked, number), 1) << number;
  }
  for (const int number : {SIGSEGV, SIGBUS, SIGABRT}) {
    EXPECT_EQ(sigismember(&blocked, number), 0) << number;
  }
}

}  // namespace
}  // namespace base

#include "base/event_loop.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace base {
namespace {

using namespace std::chrono_literals;
using Log = std::vector<std::string>;

TEST(EventLoop, RunsPostsInOrderAndNeverInline) {
  EventLoop loop;
  Log log;
  loop.post([&] {
    log.push_back("first");
    loop.post([&] {
      log.push_back("nested");
      loop.stop();
    });
    log.push_back("still first");
  });
  loop.post([&] { log.push_back("second"); });
  EXPECT_TRUE(log.empty());
  loop.run();
  EXPECT_EQ(log, (Log{"first", "still first", "second", "nested"}));
}

TEST(EventLoop, StopLetsEarlierPostsRunAndTheLoopCanRunAgain) {
  EventLoop loop;
  int runs = 0;
  loop.post([&] { ++runs; });
  loop.stop();
  loop.run();
  EXPECT_EQ(runs, 1);
  loop.post([&] {
    ++runs;
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(runs, 2);
}

TEST(EventLoop, APostMadeWhileStoppingRunsNextTime) {
  EventLoop loop;
  bool ran = false;
  loop.post([&] {
    loop.stop();
    loop.post([&] { loop.post([&] { ran = true; }); });
  });
  loop.run();
  EXPECT_FALSE(ran);
  std::thread([&] { loop.post([&] { loop.stop(); }); }).join();
  loop.run();
  EXPECT_TRUE(ran);
}

TEST(EventLoop, EveryPostFromEveryThreadRunsInItsOrder) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  EventLoop loop;
  std::vector<int> next(kThreads, 0);
  int out_of_order = 0;
  int ended = 0;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop.post([&, t, i] {
          if (next[t]++ != i) ++out_of_order;
          if (i + 1 == kPosts && ++ended == kThreads) loop.stop();
        });
      }
    });
  }
  loop.run();
  EXPECT_EQ(next, std::vector<int>(kThreads, kPosts));
  EXPECT_EQ(out_of_order, 0);
}

TEST(EventLoop, KnowsTheLoopOfTheThread) {
  EventLoop loop;
  const EventLoop* inside = nullptr;
  EXPECT_EQ(EventLoop::current(), nullptr);
  loop.post([&] {
    inside = EventLoop::current();
    loop.stop();
  });
  loop.run();
  EXPECT_EQ(inside, &loop);
  EXPECT_EQ(EventLoop::current(), nullptr);
}

TEST(EventLoop, AfterSaturates) {
  ManualClock clock;
  const EventLoop loop(clock);
  EXPECT_EQ(loop.after(5s), clock.now() + 5s);
  EXPECT_EQ(loop.after(Duration::max()), kForever);
}

TEST(EventLoop, TimersFireInOrderOnceTheirTimeHasCome) {
  ManualClock clock;
  EventLoop loop(clock);
  Log log;
  loop.add_timer(loop.after(3s), [&] {
    log.push_back("3s");
    loop.stop();
  });
  loop.add_timer(loop.after(1s), [&] { log.push_back("1s"); });
  loop.add_timer(loop.after(2s), [&] { log.push_back("2s"); });
  const EventLoop::Timer cancelled =
      loop.add_timer(loop.after(1s), [&] { log.push_back("cancelled"); });
  loop.cancel_timer(cancelled);
  loop.post([&] {
    clock.advance(1s);
    loop.post([&] {
      log.push_back("between");
      clock.advance(2s);
    });
  });
  loop.run();
  EXPECT_EQ(log, (Log{"1s", "between", "2s", "3s"}));
}

TEST(EventLoop, ATimerMayCancelOneThatIsDueWithIt) {
  ManualClock clock;
  EventLoop loop(clock);
  Log log;
  EventLoop::Timer second;
  loop.add_timer(loop.after(1s), [&] {
    log.push_back("first");
    loop.cancel_timer(second);
    loop.stop();
  });
  second = loop.add_timer(loop.after(1s), [&] { log.push_back("second"); });
  clock.advance(1s);
  loop.run();
  EXPECT_EQ(log, (Log{"first"}));
}

TEST(EventLoop, ATimerAddedAfterItsTimeFires) {
  ManualClock clock;
  EventLoop loop(clock);
  const TimePoint passed = loop.now();
  clock.advance(1s);
  // Runs what advance() posted, so that nothing but the timer itself can wake the loop.
  loop.stop();
  loop.run();
  bool fired = false;
  loop.post([&] {
    loop.add_timer(passed, [&] {
      fired = true;
      loop.stop();
    });
  });
  loop.run();
  EXPECT_TRUE(fired);
}

TEST(EventLoop, TimersThatAreDueAtOnceDoNotHoldTheLoop) {
  ManualClock clock;
  EventLoop loop(clock);
  struct Again {
    EventLoop* loop;
    int* fired;
    void operator()() const {
      ++*fired;
      loop->add_timer(loop->now(), *this);
    }
  };
  int fired = 0;
  bool posted_ran = false;
  loop.post([&] {
    loop.add_timer(loop.now(), Again{&loop, &fired});
    loop.post([&] {
      loop.post([&] {
        posted_ran = true;
        loop.stop();
      });
    });
  });
  loop.run();
  EXPECT_TRUE(posted_ran);
  EXPECT_GE(fired, 1);
}

Task<bool> sleeps_long_enough(EventLoop* loop) {
  const TimePoint when = loop->after(2ms);
  co_await loop->sleep(2ms);
  co_return loop->now() >= when;
}

TEST(EventLoop, SleepsOnTheSystemClock) {
  EventLoop loop;
  EXPECT_TRUE(run_task(loop, sleeps_long_enough(&loop)));
}

Task<Duration> sleeps_in_manual_time(EventLoop* loop, ManualClock* clock) {
  const TimePoint start = loop->now();
  loop->post([clock] { clock->advance(1h); });
  co_await loop->sleep(59min);
  co_return loop->now() - start;
}

TEST(EventLoop, SleepsOnAManualClock) {
  ManualClock clock;
  EventLoop loop(clock);
  EXPECT_EQ(run_task(loop, sleeps_in_manual_time(&loop, &clock)), 1h);
}

Task<void> count_turns(EventLoop* loop, int turns, std::string name, Log* log) {
  for (int i = 0; i < turns; ++i) {
    log->push_back(name);
    co_await loop->yield();
  }
}

Task<void> two_counters(EventLoop* loop, Log* log) {
  TaskScope scope;
  scope.spawn(count_turns(loop, 3, "a", log));
  scope.spawn(count_turns(loop, 3, "b", log));
  co_await scope.join();
}

TEST(EventLoop, YieldTakesTurns) {
  EventLoop loop;
  Log log;
  run_task(loop, two_counters(&loop, &log));
  EXPECT_EQ(log, (Log{"a", "b", "a", "b", "a", "b"}));
}

Task<Ready> await_readable(EventLoop* loop, int fd, bool* done) {
  FdWaiter waiter(*loop, fd);
  const Ready ready = co_await waiter.readable();
  *done = true;
  co_return ready;
}

Task<void> yield_until(EventLoop* loop, const bool* done, int limit, int* turns) {
  while (!*done && *turns < limit) {
    ++*turns;
    co_await loop->yield();
  }
}

Task<Ready> readable_beside_yields(EventLoop* loop, int fd, int limit, int* turns) {
  bool done = false;
  TaskScope scope;
  scope.spawn(yield_until(loop, &done, limit, turns));
  const Ready ready = co_await await_readable(loop, fd, &done);
  co_await scope.join();
  co_return ready;
}

TEST(EventLoop, YieldLetsDescriptorsHaveTheirTurn) {
  constexpr int kLimit = 1000;
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  EventLoop loop;
  int turns = 0;
  EXPECT_EQ(run_task(loop, readable_beside_yields(&loop, fds[0], kLimit, &turns)), Ready::ready);
  EXPECT_LT(turns, kLimit);
  close(fds[0]);
  close(fds[1]);
}

TEST(EventLoop, CallsBackForSignals) {
  EventLoop loop;
  int calls = 0;
  loop.on_signal(SIGUSR1, [&] {
    if (++calls == 2) {
      loop.stop();
    } else {
      raise(SIGUSR1);
    }
  });
  loop.post([] { raise(SIGUSR1); });
  loop.run();
  EXPECT_EQ(calls, 2);
}

}  // namespace
}  // namespace base

#include "base/signal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "base/loop_group.h"

namespace base {
namespace {

using namespace std::chrono_literals;

Task<bool> wait_with(Signal* signal, Signal::Ticket ticket, TimePoint deadline) {
  const bool notified = co_await signal->wait(ticket, deadline);
  co_return notified;
}

TEST(Signal, ANotificationAfterTheTicketIsNotLost) {
  EventLoop loop;
  Signal signal;
  const Signal::Ticket ticket = signal.ticket();
  signal.notify();
  EXPECT_TRUE(run_task(loop, wait_with(&signal, ticket, kForever)));
}

TEST(Signal, ANotificationBeforeTheTicketDoesNotWake) {
  ManualClock clock;
  EventLoop loop(clock);
  Signal signal;
  signal.notify();
  EXPECT_FALSE(run_task(loop, wait_with(&signal, signal.ticket(), loop.now())));
}

TEST(Signal, GivesUpAtTheDeadline) {
  ManualClock clock;
  EventLoop loop(clock);
  Signal signal;
  loop.post([&] {
    clock.advance(4s);
    loop.post([&] { clock.advance(1s); });
  });
  const TimePoint deadline = loop.after(5s);
  EXPECT_FALSE(run_task(loop, wait_with(&signal, signal.ticket(), deadline)));
  EXPECT_EQ(clock.now(), deadline);
  signal.notify();
}

TEST(Signal, NotifiedBeforeTheDeadlineTheTimerIsGone) {
  ManualClock clock;
  EventLoop loop(clock);
  Signal signal;
  loop.post([&] { signal.notify(); });
  EXPECT_TRUE(run_task(loop, wait_with(&signal, signal.ticket(), loop.after(5s))));
  clock.advance(10s);
  loop.stop();
  loop.run();
}

TEST(Signal, NotifiedAndTimedOutInOneTurnIsNotified) {
  ManualClock clock;
  EventLoop loop(clock);
  Signal signal;
  loop.post([&] {
    // The timer is posted first, so it finds the waiter taken away by the notifier.
    clock.advance(5s);
    signal.notify();
  });
  EXPECT_TRUE(run_task(loop, wait_with(&signal, signal.ticket(), loop.after(5s))));
}

// A counter that any thread moves and coroutines watch.
struct Counter {
  std::atomic<int> value = 0;
  Signal changed;

  void add() {
    ++value;
    changed.notify();
  }
};

Task<void> wait_for_value(Counter* counter, int wanted, TimePoint deadline, int* wakes) {
  while (true) {
    const Signal::Ticket ticket = counter->changed.ticket();
    if (counter->value >= wanted) break;
    co_await counter->changed.wait(ticket, deadline);
    ++*wakes;
  }
}

Task<void> watch_many(std::shared_ptr<Counter> counter, int watchers, int wanted,
                      std::latch* waiting, TimePoint deadline) {
  std::vector<int> wakes(static_cast<size_t>(watchers), 0);
  TaskScope scope;
  for (int& count : wakes) {
    scope.spawn(wait_for_value(counter.get(), wanted, deadline, &count));
  }
  waiting->count_down();
  co_await scope.join();
  for (const int count : wakes) EXPECT_GE(count, 1);
}

TEST(Signal, WakesEveryWaiterOnEveryLoop) {
  constexpr size_t kLoops = 3;
  constexpr int kWatchers = 50;
  const auto counter = std::make_shared<Counter>();
  LoopGroup loops(kLoops);
  std::latch waiting(kLoops);
  std::vector<std::jthread> callers;
  callers.reserve(kLoops);
  for (size_t i = 0; i < kLoops; ++i) {
    callers.emplace_back([&, i] {
      loops.await(i, [&] { return watch_many(counter, kWatchers, 1, &waiting, kForever); });
    });
  }
  waiting.wait();
  counter->add();
  callers.clear();
}

Task<void> follow(std::shared_ptr<Counter> counter, int last, TimePoint deadline) {
  // Waits for each value on its own: a single lost wake-up would stop it for good.
  int wakes = 0;
  for (int wanted = 1; wanted <= last; ++wanted) {
    co_await wait_for_value(counter.get(), wanted, deadline, &wakes);
  }
}

Task<void> follow_many(std::shared_ptr<Counter> counter, int followers, int last,
                       TimePoint deadline) {
  TaskScope scope;
  for (int i = 0; i < followers; ++i) scope.spawn(follow(counter, last, deadline));
  co_await scope.join();
}

TEST(Signal, NoWakeUpIsLostUnderLoad) {
  constexpr int kNotifiers = 2;
  constexpr int kNotifications = 3000;
  const auto counter = std::make_shared<Counter>();
  LoopGroup loops(2);
  std::latch ready(kNotifiers + 2);
  std::vector<std::jthread> threads;
  threads.reserve(loops.size() + kNotifiers);
  for (size_t i = 0; i < loops.size(); ++i) {
    threads.emplace_back([&, i] {
      ready.arrive_and_wait();
      // With a deadline on one loop, so that timers are added and cancelled all the time.
      const TimePoint deadline = i == 0 ? kForever : loops.loop(i).after(1h);
      loops.await(i,
                  [&] { return follow_many(counter, 8, kNotifiers * kNotifications, deadline); });
    });
  }
  for (int t = 0; t < kNotifiers; ++t) {
    threads.emplace_back([&] {
      ready.arrive_and_wait();
      for (int i = 0; i < kNotifications; ++i) {
        counter->add();
        if (i % 16 == 0) std::this_thread::yield();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(counter->value, kNotifiers * kNotifications);
}

// Two coroutines on two loops take turns: each step needs the other's notification.
Task<void> take_turns(std::shared_ptr<Counter> counter, int parity, int rounds) {
  int wakes = 0;
  for (int i = 0; i < rounds; ++i) {
    co_await wait_for_value(counter.get(), 2 * i + parity, kForever, &wakes);
    counter->add();
  }
}

TEST(Signal, TwoLoopsTakeTurns) {
  constexpr int kRounds = 2000;
  const auto counter = std::make_shared<Counter>();
  LoopGroup loops(2);
  std::jthread other([&] { loops.await(1, [&] { return take_turns(counter, 1, kRounds); }); });
  loops.await(0, [&] { return take_turns(counter, 0, kRounds); });
  other.join();
  EXPECT_EQ(counter->value, 2 * kRounds);
}

Task<int> timeouts_against_notifications(std::shared_ptr<Counter> counter, EventLoop* loop,
                                         int wanted) {
  int timeouts = 0;
  while (true) {
    const Signal::Ticket ticket = counter->changed.ticket();
    if (counter->value >= wanted) break;
    const bool notified = co_await counter->changed.wait(ticket, loop->after(1s));
    if (!notified) ++timeouts;
  }
  co_return timeouts;
}

Task<void> run_timeouts(std::shared_ptr<Counter> counter, EventLoop* loop, int wanted) {
  co_await timeouts_against_notifications(counter, loop, wanted);
}

TEST(Signal, DeadlinesAndNotificationsMayMeet) {
  constexpr int kNotifications = 2000;
  ManualClock clock;
  const auto counter = std::make_shared<Counter>();
  LoopGroup loops(1, clock);
  std::jthread time([&] {
    for (int i = 0; i < kNotifications; ++i) clock.advance(1s);
  });
  std::jthread notifier([&] {
    for (int i = 0; i < kNotifications; ++i) counter->add();
  });
  loops.await(0, [&] { return run_timeouts(counter, &loops.loop(0), kNotifications); });
  time.join();
  notifier.join();
}

}  // namespace
}  // namespace base

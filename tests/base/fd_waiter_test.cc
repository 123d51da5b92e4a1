#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace base {
namespace {

using namespace std::chrono_literals;

class FdWaiterTest : public testing::Test {
 protected:
  FdWaiterTest() : loop_(clock_) {
    int fds[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    ours_.reset(fds[0]);
    peer_.reset(fds[1]);
  }

  ManualClock clock_;
  EventLoop loop_;
  UniqueFd ours_;
  UniqueFd peer_;
};

void send_byte(int fd) { ASSERT_EQ(send(fd, "x", 1, MSG_NOSIGNAL), 1); }

void receive_byte(int fd) {
  char byte = 0;
  ASSERT_EQ(recv(fd, &byte, 1, 0), 1);
}

void fill(int fd) {
  const std::string block(64UL * 1024, 'x');
  ssize_t sent = 0;
  do {
    sent = send(fd, block.data(), block.size(), MSG_NOSIGNAL);
  } while (sent >= 0);
  ASSERT_EQ(errno, EAGAIN);
}

void drain(int fd) {
  std::string block(64UL * 1024, '\0');
  ssize_t received = 0;
  do {
    received = recv(fd, block.data(), block.size(), 0);
  } while (received > 0);
  ASSERT_TRUE(received < 0 && errno == EAGAIN);
}

Task<Ready> readable(EventLoop* loop, int fd, TimePoint deadline) {
  FdWaiter waiter(*loop, fd);
  const Ready ready = co_await waiter.readable(deadline);
  co_return ready;
}

TEST_F(FdWaiterTest, BecomesReadable) {
  loop_.post([&] { send_byte(peer_.get()); });
  EXPECT_EQ(run_task(loop_, readable(&loop_, ours_.get(), kForever)), Ready::ready);
}

TEST_F(FdWaiterTest, IsReadableWhenThePeerHasGone) {
  loop_.post([&] { peer_.reset(); });
  EXPECT_EQ(run_task(loop_, readable(&loop_, ours_.get(), kForever)), Ready::ready);
}

TEST_F(FdWaiterTest, TimesOut) {
  loop_.post([&] {
    clock_.advance(4s);
    loop_.post([&] { clock_.advance(1s); });
  });
  const TimePoint deadline = loop_.after(5s);
  EXPECT_EQ(run_task(loop_, readable(&loop_, ours_.get(), deadline)), Ready::timed_out);
  EXPECT_EQ(clock_.now(), deadline);
}

TEST_F(FdWaiterTest, TimesOutWhenTheDeadlineHasPassedBefore) {
  EXPECT_EQ(run_task(loop_, readable(&loop_, ours_.get(), loop_.now())), Ready::timed_out);
}

Task<std::vector<Ready>> ready_then_deadline_passes(EventLoop* loop, ManualClock* clock, int ours,
                                                    int peer) {
  std::vector<Ready> results;
  FdWaiter waiter(*loop, ours);
  loop->post([peer] { send_byte(peer); });
  const Ready first = co_await waiter.readable(loop->after(5s));
  results.push_back(first);
  receive_byte(ours);
  // The first wait's deadline, which must not end the second wait.
  loop->post([clock] { clock->advance(6s); });
  loop->post([loop, peer] { loop->post([peer] { send_byte(peer); }); });
  const Ready second = co_await waiter.readable(loop->after(10s));
  results.push_back(second);
  co_return results;
}

TEST_F(FdWaiterTest, AWaitThatEndedTakesItsDeadlineAlong) {
  EXPECT_EQ(run_task(loop_, ready_then_deadline_passes(&loop_, &clock_, ours_.get(), peer_.get())),
            (std::vector{Ready::ready, Ready::ready}));
}

Task<Ready> writable_once_drained(EventLoop* loop, int ours, int peer) {
  FdWaiter waiter(*loop, ours);
  fill(ours);
  loop->post([peer] { drain(peer); });
  const Ready ready = co_await waiter.writable();
  co_return ready;
}

TEST_F(FdWaiterTest, BecomesWritable) {
  EXPECT_EQ(run_task(loop_, writable_once_drained(&loop_, ours_.get(), peer_.get())), Ready::ready);
  send_byte(ours_.get());
}

Task<std::vector<Ready>> many_rounds(EventLoop* loop, int ours, int peer, int rounds) {
  std::vector<Ready> results;
  FdWaiter waiter(*loop, ours);
  for (int i = 0; i < rounds; ++i) {
    // Data that comes while nobody waits, and stays while the loop turns, is not forgotten.
    send_byte(peer);
    for (int turn = 0; turn < i % 4; ++turn) co_await loop->yield();
    const Ready unread = co_await waiter.readable();
    const Ready writable = co_await waiter.writable();
    results.push_back(unread);
    results.push_back(writable);
    receive_byte(ours);
    const Ready empty = co_await waiter.readable(loop->now());
    results.push_back(empty);
  }
  co_return results;
}

TEST_F(FdWaiterTest, SeesEveryChangeOverManyWaits) {
  constexpr int kRounds = 20;
  std::vector<Ready> expected;
  for (int i = 0; i < kRounds; ++i) {
    expected.insert(expected.end(), {Ready::ready, Ready::ready, Ready::timed_out});
  }
  EXPECT_EQ(run_task(loop_, many_rounds(&loop_, ours_.get(), peer_.get(), kRounds)), expected);
}

Task<void> wait_one_way(FdWaiter* waiter, bool writing, Ready* result) {
  if (writing) {
    *result = co_await waiter->writable();
  } else {
    *result = co_await waiter->readable();
  }
}

struct Cancelled {
  Ready reading = Ready::ready;
  Ready writing = Ready::ready;
  Ready later = Ready::ready;
  size_t running_after_cancel = 0;
  bool flag = false;
};

Task<Cancelled> cancel_both(EventLoop* loop, int ours, int peer) {
  Cancelled out;
  FdWaiter waiter(*loop, ours);
  fill(ours);
  TaskScope scope;
  scope.spawn(wait_one_way(&waiter, false, &out.reading));
  scope.spawn(wait_one_way(&waiter, true, &out.writing));
  // Readable too by the time the cancelled coroutines continue: the cancellation still counts.
  send_byte(peer);
  waiter.cancel();
  out.running_after_cancel = scope.running();
  co_await scope.join();
  out.later = co_await waiter.readable();
  out.flag = waiter.cancelled();
  co_return out;
}

TEST_F(FdWaiterTest, CancelEndsBothWaitsAndAllLaterOnes) {
  const Cancelled out = run_task(loop_, cancel_both(&loop_, ours_.get(), peer_.get()));
  EXPECT_EQ(out.reading, Ready::cancelled);
  EXPECT_EQ(out.writing, Ready::cancelled);
  EXPECT_EQ(out.later, Ready::cancelled);
  EXPECT_EQ(out.running_after_cancel, 2U) << "cancel() itself resumed a waiter";
  EXPECT_TRUE(out.flag);
}

struct Owner {
  std::unique_ptr<FdWaiter> waiter;
  int waiting = 0;
};

// Whoever leaves last destroys the FdWaiter, as a connection with a reader and a writer does.
Task<void> wait_and_leave(std::shared_ptr<Owner> owner, bool writing) {
  ++owner->waiting;
  Ready result = Ready::ready;
  co_await wait_one_way(owner->waiter.get(), writing, &result);
  if (--owner->waiting == 0) owner->waiter.reset();
}

Task<bool> cancel_with_shared_owner(EventLoop* loop, int ours, int peer) {
  auto owner = std::make_shared<Owner>();
  owner->waiter = std::make_unique<FdWaiter>(*loop, ours);
  fill(ours);
  TaskScope scope;
  scope.spawn(wait_and_leave(owner, false));
  scope.spawn(wait_and_leave(owner, true));
  // Both directions are ready when they are cancelled.
  send_byte(peer);
  drain(peer);
  owner->waiter->cancel();
  co_await scope.join();
  co_return owner->waiter == nullptr;
}

TEST_F(FdWaiterTest, MayBeDestroyedByTheLastCancelledWaiter) {
  EXPECT_TRUE(run_task(loop_, cancel_with_shared_owner(&loop_, ours_.get(), peer_.get())));
}

Task<std::pair<Ready, Ready>> interrupt(EventLoop* loop, int ours, int peer) {
  FdWaiter waiter(*loop, ours);
  waiter.interrupt_read();
  std::pair<Ready, Ready> out = {Ready::ready, Ready::timed_out};
  TaskScope scope;
  scope.spawn(wait_one_way(&waiter, false, &out.first));
  waiter.interrupt_read();
  // Another coroutine may wait at once, and its result is its own.
  send_byte(peer);
  out.second = co_await waiter.readable();
  co_await scope.join();
  co_return out;
}

TEST_F(FdWaiterTest, InterruptEndsOnlyTheReadInProgress) {
  EXPECT_EQ(run_task(loop_, interrupt(&loop_, ours_.get(), peer_.get())),
            std::pair(Ready::cancelled, Ready::ready));
}

TEST_F(FdWaiterTest, MayGoWithUnreadDataAndBeMadeAgain) {
  for (int i = 0; i < 3; ++i) {
    send_byte(peer_.get());
    EXPECT_EQ(run_task(loop_, readable(&loop_, ours_.get(), kForever)), Ready::ready);
  }
}

}  // namespace
}  // namespace base

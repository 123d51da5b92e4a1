#include "proxy/worker.h"

#include <gtest/gtest.h>

#include <latch>

#include "base/fault_point.h"

namespace proxy {
namespace {

// A prefetch whose fill was cancelled asks for its next one while other loops have nothing left.
TEST(Workers, AreThereUntilTheTasksOfEveryLoopHaveEnded) {
  base::LoopGroup loops(2);
  Workers workers(loops, "edge");
  base::Signal first_ended;
  std::atomic<bool> ended = false;
  std::latch asked(1);
  const auto last_task = [](Workers* all, base::Signal* signal, const std::atomic<bool>* go_on,
                            std::latch* done) -> base::Task<void> {
    while (true) {
      const base::Signal::Ticket ticket = signal->ticket();
      if (*go_on) break;
      co_await signal->wait(ticket);
    }
    EXPECT_EQ(&all->here().loop, base::EventLoop::current());
    done->count_down();
  };
  loops.call(
      1, [&] { workers.here().tasks.spawn(last_task(&workers, &first_ended, &ended, &asked)); });
  const base::InjectedFault fault("worker.ended", [&](std::string_view) {
    if (!ended.exchange(true)) {
      first_ended.notify();
      asked.wait();
    }
    return 0;
  });
  workers.stop();
}

}  // namespace
}  // namespace proxy

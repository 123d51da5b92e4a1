// The life of a serving program, in this process: its main thread is the test's.
#include "http/service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>

namespace http {
namespace {

// Without a handler each of these signals ends the process.
TEST(Service, HearsSignalsFromTheFirstMomentItServes) {
  base::LoopGroup loops(1);
  Service service;
  std::string calls;
  service.run(loops, {.start =
                          [&] {
                            ::raise(SIGHUP);
                            ::raise(SIGTERM);
                            calls += "start ";
                          },
                      .reload = [&] { calls += "reload "; },
                      .leave =
                          [&] {
                            calls += "leave ";
                            return std::chrono::nanoseconds::zero();
                          },
                      .drain = [&] { calls += "drain"; }});
  // Of signals that are there at once, the loop may take either first.
  EXPECT_TRUE(calls == "start reload leave drain" || calls == "start leave drain") << calls;
}

TEST(Service, DoesNotRunWhereItCannotStart) {
  base::LoopGroup loops(1);
  Service service;
  EXPECT_THROW(service.run(loops, {.start = [] { throw std::runtime_error("no"); },
                                   .reload = [] {},
                                   .leave = {},
                                   .drain = [] { FAIL(); }}),
               std::runtime_error);
}

// Serves until SIGTERM; `drain` and what comes after it take as long as they like.
void end_within(std::chrono::nanoseconds limit, const std::function<void()>& drain,
                const std::function<void()>& afterwards) {
  base::LoopGroup loops(1);
  Service service;
  service.run(loops, {.start = [] { ::raise(SIGTERM); },
                      .reload = [] {},
                      .leave = {},
                      .end_within = [limit] { return limit; },
                      .drain = drain,
                      .waits_for = [] { return "the disk"; }});
  afterwards();
}

[[noreturn]] void hang() {
  while (true) ::pause();
}

TEST(ServiceDeathTest, EndsInTimeWhateverHangs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(end_within({}, hang, [] {}), ::testing::ExitedWithCode(kExitFailure),
              "still waits for the disk");
  EXPECT_EXIT(
      end_within({}, [] {}, hang), ::testing::ExitedWithCode(kExitFailure), "still waits for");
}

TEST(Service, ThatHasEndedInTimeLeavesTheProcess) {
  bool ended = false;
  end_within(std::chrono::hours(1), [] {}, [&] { ended = true; });
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace http

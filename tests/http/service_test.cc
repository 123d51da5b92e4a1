// The life of a serving program, in this process: its main thread is the test's.
#include "http/service.h"

#include <gtest/gtest.h>
#include <signal.h>

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

}  // namespace
}  // namespace http

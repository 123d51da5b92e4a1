#include "base/crash_point.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>

namespace base {
namespace {

#ifdef ENTREPOT_CRASH_POINTS

// The variable is read once per process, so each case is a process of its own.
[[noreturn]] void arrive(const char* crash_at, int arrivals) {
  setenv("ENTREPOT_CRASH_AT", crash_at, 1);
  for (int i = 0; i < arrivals; ++i) {
    crash_point("before.it");
    crash_point("at.it");
  }
  std::_Exit(7);
}

TEST(CrashPointDeathTest, KillsAtTheNamedStep) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(arrive("at.it", 1), testing::KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(arrive("at.it:3", 3), testing::KilledBySignal(SIGKILL), "");
}

TEST(CrashPointDeathTest, LivesWhereItIsNotNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(arrive("at.it:3", 2), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(arrive("at", 2), testing::ExitedWithCode(7), "");
  EXPECT_EXIT(arrive("", 2), testing::ExitedWithCode(7), "");
}

#else

TEST(CrashPoint, IsNothingInOtherBuilds) {
  setenv("ENTREPOT_CRASH_AT", "at.it", 1);
  crash_point("at.it");
}

#endif

}  // namespace
}  // namespace base

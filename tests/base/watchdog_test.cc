#include "base/watchdog.h"

#include <gtest/gtest.h>

#include <latch>
#include <optional>

namespace base {
namespace {

using std::chrono_literals::operator""s;

// The watchdog on a loop of its own, two loops that it watches.
class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest() {
    main_.call(0, [&] { dog_.emplace(main_.loop(0), watched_, 4s, [this] { ++alive_; }); });
  }
  ~WatchdogTest() override {
    main_.call(0, [&] { dog_.reset(); });
  }
  // A quarter of the timeout passes; returns how often the watchdog has spoken by then.
  int pass(bool all_answer) {
    if (all_answer) {
      for (size_t i = 0; i < watched_.size(); ++i) watched_.call(i, [] {});
    }
    clock_.advance(1s);
    int alive = 0;
    main_.call(0, [&] { alive = alive_; });
    return alive;
  }

  ManualClock clock_;
  LoopGroup main_{1, clock_};
  LoopGroup watched_{2};
  int alive_ = 0;  // touched on main_'s loop
  std::optional<Watchdog> dog_;
};

TEST_F(WatchdogTest, SpeaksWhileTheLoopsRun) {
  EXPECT_EQ(pass(true), 1);
  EXPECT_EQ(pass(true), 2);
  EXPECT_EQ(pass(true), 3);
}

TEST_F(WatchdogTest, IsSilentWhileALoopHangsAndSpeaksWhenItGoesOn) {
  EXPECT_EQ(pass(true), 1);
  std::latch hung(1);
  std::latch go_on(1);
  watched_.loop(1).post([&] {
    hung.count_down();
    go_on.wait();
  });
  hung.wait();
  watched_.call(0, [] {});
  // What the loop answered before it hung still counts, once.
  EXPECT_EQ(pass(false), 2);
  EXPECT_EQ(pass(false), 2);
  EXPECT_EQ(pass(false), 2);
  go_on.count_down();
  EXPECT_EQ(pass(true), 3);
}

}  // namespace
}  // namespace base

#include "base/probe.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <memory>
#include <stdexcept>

#include "base/loop_group.h"

namespace base {
namespace {

using std::chrono_literals::operator""s;

Task<void> look(EventLoop* loop, Probe* probe, std::promise<std::string> found) {
  std::string result;
  try {
    result = co_await probe->look(*loop, 5s);
  } catch (const std::exception& e) {
    result = e.what();
  }
  found.set_value(result);
}

class ProbeTest : public ::testing::Test {
 protected:
  ~ProbeTest() override {
    loops_.await(0, [this]() { return join(&scope_); });
  }
  static Task<void> join(TaskScope* scope) { co_await scope->join(); }

  std::future<std::string> begin(Probe& probe) {
    std::promise<std::string> promise;
    std::future<std::string> found = promise.get_future();
    loops_.call(0, [&] { scope_.spawn(look(&loops_.loop(0), &probe, std::move(promise))); });
    return found;
  }

  ManualClock clock_;
  LoopGroup loops_{1, clock_};
  TaskScope scope_;
};

TEST_F(ProbeTest, ReturnsWhatWasFound) {
  Probe well([] { return ""; });
  EXPECT_EQ(begin(well).get(), "");
  EXPECT_EQ(begin(well).get(), "");
  Probe ill([] { return "ill"; });
  EXPECT_EQ(begin(ill).get(), "ill");
  Probe throws([]() -> std::string { throw std::runtime_error("thrown"); });
  EXPECT_EQ(begin(throws).get(), "thrown");
}

TEST_F(ProbeTest, DoesNotHangWithWhatHangs) {
  std::latch go_on(1);
  std::atomic<int> looks = 0;
  Probe probe([&] {
    ++looks;
    go_on.wait();
    return "";
  });
  for (int i = 0; i < 3; ++i) {
    std::future<std::string> found = begin(probe);
    clock_.advance(5s);
    EXPECT_EQ(found.get(), "no answer within 5 s");
  }
  // No second look while the first is out there; its answer is taken when it comes.
  std::future<std::string> found = begin(probe);
  go_on.count_down();
  EXPECT_EQ(found.get(), "");
  EXPECT_EQ(looks, 1);
  EXPECT_EQ(begin(probe).get(), "");
  EXPECT_EQ(looks, 2);
}

TEST_F(ProbeTest, CanBeGivenUpWhileItHangs) {
  const auto go_on = std::make_shared<std::latch>(1);
  auto left = std::make_shared<std::promise<void>>();
  std::future<void> done = left->get_future();
  {
    Probe probe([go_on, left] {
      go_on->wait();
      left->set_value();
      return "too late";
    });
    std::future<std::string> found = begin(probe);
    loops_.call(0, [&] { probe.cancel(); });
    EXPECT_EQ(found.get(), "");
  }
  go_on->count_down();
  done.wait();
}

}  // namespace
}  // namespace base

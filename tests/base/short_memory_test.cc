#include "base/short_memory.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <variant>

namespace base {
namespace {

using std::chrono::seconds;

TEST(ShortMemory, IsBounded) {
  ShortMemory<int> memory(seconds(10), 3);
  TimePoint now{std::chrono::hours(1)};
  for (const char* key : {"a", "b", "c", "a", "d"}) {
    memory.update(key, now, [](int& value) { ++value; });
  }
  EXPECT_EQ(memory.size(), 3U);
  EXPECT_EQ(memory.find("a", now), 2);
  EXPECT_EQ(memory.find("b", now), std::nullopt) << "the oldest goes";
  EXPECT_EQ(memory.find("d", now), 1);
  now += seconds(10);
  EXPECT_EQ(memory.find("d", now), std::nullopt);
  memory.update("e", now, [](int&) {});
  EXPECT_EQ(memory.size(), 1U);
}

TEST(ShortMemory, ForgetsByTimeAndByNumber) {
  ShortMemory<std::monostate> memory(seconds(10), 2);
  const TimePoint now{std::chrono::hours(1)};
  memory.remember("a", now);
  EXPECT_TRUE(memory.contains("a", now + seconds(9)));
  EXPECT_FALSE(memory.contains("a", now + seconds(10)));
  memory.remember("b", now);
  memory.remember("c", now);
  EXPECT_FALSE(memory.contains("a", now));
  EXPECT_TRUE(memory.contains("c", now));
  for (int i = 0; i < 1000; ++i) memory.remember(std::to_string(i), now);
  EXPECT_EQ(memory.size(), 2U);
}

TEST(ShortMemory, ForgetsWhatItIsTold) {
  ShortMemory<int> memory(seconds(10), 2);
  const TimePoint now{std::chrono::hours(1)};
  memory.remember("a", now, 1);
  memory.remember("b", now, 2);
  memory.remember("a", now, 3);
  memory.forget("a");
  memory.forget("a");
  EXPECT_FALSE(memory.contains("a", now));
  memory.remember("c", now, 4);
  EXPECT_EQ(memory.find("b", now), 2);
  EXPECT_EQ(memory.find("c", now), 4);
}

}  // namespace
}  // namespace base

#include "http/retry_after.h"

#include <gtest/gtest.h>

#include "http/message.h"

namespace http {
namespace {

using std::chrono::seconds;

TEST(RetryAfter, SecondsAndDates) {
  EXPECT_EQ(parse_retry_after("120", 0), seconds(120));
  EXPECT_EQ(parse_retry_after("0", 0), seconds(0));
  EXPECT_EQ(parse_retry_after(http_date(1'000'090), 1'000'000), seconds(90));
  EXPECT_EQ(parse_retry_after(http_date(999'000), 1'000'000), seconds(0));
}

TEST(RetryAfter, HugeIsBounded) {
  EXPECT_GT(parse_retry_after("99999999999999999999999", 0), seconds(1));
  EXPECT_LE(parse_retry_after("99999999999999999999999", 0), seconds(366 * 86400));
}

TEST(RetryAfter, OthersSayNothing) {
  for (const char* bad : {"", "-1", "1.5", "soon", "1 ", "Sun, 06 Nov 1994"}) {
    EXPECT_EQ(parse_retry_after(bad, 0), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace http

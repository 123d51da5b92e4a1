#include "http/message.h"

#include <gtest/gtest.h>

namespace http {
namespace {

TEST(Headers, CompareNamesInAnyCaseAndKeepOrder) {
  Headers headers;
  headers.add("Accept", "a");
  headers.add("X", "1");
  headers.add("accept", "b, C");
  EXPECT_EQ(headers.get("ACCEPT"), "a");
  EXPECT_EQ(headers.joined("Accept"), "a, b, C");
  EXPECT_TRUE(headers.has_token("accept", "c"));
  EXPECT_FALSE(headers.has_token("accept", "d"));
  headers.set("Accept", "z");
  EXPECT_EQ(headers.joined("accept"), "z");
  EXPECT_EQ(headers.size(), 2U);
  headers.remove("x");
  EXPECT_FALSE(headers.has("X"));
  EXPECT_EQ(headers.get("X"), std::nullopt);
}

TEST(Percent, DecodesAndEncodes) {
  EXPECT_EQ(percent_decode("a%20b%2fc%"), "a b/c%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
  EXPECT_EQ(percent_encode("a b/ä~"), "a%20b%2F%C3%A4~");
}

TEST(Date, IsImfFixdate) {
  EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
}

}  // namespace
}  // namespace http

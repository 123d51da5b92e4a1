#include "base/units.h"

#include <gtest/gtest.h>

#include <string_view>

namespace base {
namespace {

using namespace std::chrono_literals;

TEST(Units, ReadsSizes) {
  EXPECT_EQ(parse_size("0"), 0U);
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("7B"), 7U);
  EXPECT_EQ(parse_size("64KiB"), 65536U);
  EXPECT_EQ(parse_size("3kB"), 3000U);
  EXPECT_EQ(parse_size("3KB"), 3000U);
  EXPECT_EQ(parse_size("100MB"), 100'000'000U);
  EXPECT_EQ(parse_size("2MiB"), 2097152U);
  EXPECT_EQ(parse_size("5GB"), 5'000'000'000U);
  EXPECT_EQ(parse_size("1GiB"), 1073741824U);
  EXPECT_EQ(parse_size("1TB"), 1'000'000'000'000U);
  EXPECT_EQ(parse_size("2TiB"), 2199023255552U);
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
}

TEST(Units, RefusesWhatIsNotASize) {
  for (const std::string_view text : {"", "KiB", "-1", "+1", "1.5GiB", "1 KiB", "1kib", "1K",
                                      "0x10", "18446744073709551616", "99999999999TiB", "1MiBs"}) {
    EXPECT_EQ(parse_size(text), std::nullopt) << text;
  }
}

TEST(Units, ReadsDurationsAsGoWritesThem) {
  EXPECT_EQ(parse_duration("0"), 0ns);
  EXPECT_EQ(parse_duration("0s"), 0ns);
  EXPECT_EQ(parse_duration("15ns"), 15ns);
  EXPECT_EQ(parse_duration("3us"), 3us);
  EXPECT_EQ(parse_duration("3µs"), 3us);
  EXPECT_EQ(parse_duration("300ms"), 300ms);
  EXPECT_EQ(parse_duration("60s"), 60s);
  EXPECT_EQ(parse_duration("1m30s"), 90s);
  EXPECT_EQ(parse_duration("1h15m30.5s"), 1h + 15min + 30500ms);
  EXPECT_EQ(parse_duration("1.5h"), 90min);
  EXPECT_EQ(parse_duration("1m0.001s"), 60001ms);
  EXPECT_EQ(parse_duration("168h"), 168h);
}

TEST(Units, RefusesWhatIsNotADuration) {
  for (const std::string_view text :
       {"", "s", "30", "1000000000", "-1s", "+1s", ".5s", "1.", "1.s2", "30 s", "30sec", "1d",
        "s30", "9999999h", "99999999999999999999s", "2562047h2562047h"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(Units, FormatsWhatItReads) {
  for (const auto* text : {"0s", "1m30s", "1h", "300ms", "2h15m30s500ms", "1us1ns"}) {
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
  }
  for (const auto* text : {"0", "4096", "64KiB", "3MiB", "2TiB", "1025"}) {
    const std::string formatted = format_size(*parse_size(text));
    EXPECT_EQ(parse_size(formatted), parse_size(text)) << formatted;
  }
  EXPECT_EQ(format_size(64 << 10), "64KiB");
  EXPECT_EQ(format_size(100'000'000), "100MB");
}

}  // namespace
}  // namespace base

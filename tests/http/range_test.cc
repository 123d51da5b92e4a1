#include "http/range.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace http {
namespace {

// "200", "416" or the selected ranges as "first-last".
std::string selected(const std::string& field, uint64_t size) {
  const RangeSelection selection = parse_range(field, size);
  if (selection.kind == RangeSelection::Kind::whole) return "200";
  if (selection.kind == RangeSelection::Kind::unsatisfiable) return "416";
  std::string text;
  for (const ByteRange& range : selection.ranges) {
    if (!text.empty()) text += ' ';
    text += std::to_string(range.first) + "-" + std::to_string(range.end() - 1);
  }
  return text;
}

std::string repeated(const std::string& spec, int times) {
  std::string field = "bytes=";
  for (int i = 0; i < times; ++i) field += (i > 0 ? "," : "") + spec;
  return field;
}

TEST(Range, Table) {
  const struct {
    std::string field;
    uint64_t size;
    std::string outcome;
  } cases[] = {
      {"bytes=0-0", 10, "0-0"},
      {"bytes=0-9", 10, "0-9"},
      {"bytes=0-", 10, "0-9"},
      {"bytes=9-", 10, "9-9"},
      {"bytes=2-5", 10, "2-5"},
      {"bytes=2-500", 10, "2-9"},
      {"bytes=-3", 10, "7-9"},
      {"bytes=-10", 10, "0-9"},
      {"bytes=-11", 10, "0-9"},
      {"BYTES=0-1", 10, "0-1"},
      {" bytes=0-1 ", 10, "0-1"},
      {"bytes=10-", 10, "416"},
      {"bytes=10-20", 10, "416"},
      {"bytes=-0", 10, "416"},
      {"bytes=5-2", 10, "416"},
      {"bytes=0-1,5-2", 10, "416"},
      {"bytes=10-,20-", 10, "416"},
      {"bytes=0-18446744073709551615", 10, "0-9"},
      {"bytes=0-99999999999999999999999999", 10, "0-9"},
      {"bytes=18446744073709551615-", 10, "416"},
      {"bytes=99999999999999999999999999-", 10, "416"},
      {"bytes=-99999999999999999999999999", 10, "0-9"},
      {"bytes=1-18446744073709551614", 18446744073709551615U, "1-18446744073709551614"},
      // Several.
      {"bytes=0-1,4-5", 10, "0-1 4-5"},
      {"bytes=0-1 , 4-5", 10, "0-1 4-5"},
      {"bytes=,0-1,,4-5,", 10, "0-1 4-5"},
      {"bytes=4-5,0-1", 10, "4-5 0-1"},
      {"bytes=0-1,20-", 10, "0-1"},
      {"bytes=0-1,-1", 10, "0-1 9-9"},
      // More than there is: an amplification attack (CVE-2011-3192).
      {"bytes=0-,0-", 10, "200"},
      {"bytes=0-,1-1", 10, "200"},
      {"bytes=0-4,3-8", 10, "200"},
      {repeated("0-0", 16), 100, selected(repeated("0-0", 16), 100)},
      {repeated("0-0", 17), 100, "200"},
      // Not ranges.
      {"", 10, "200"},
      {"bytes", 10, "200"},
      {"bytes=", 10, "200"},
      {"bytes=,", 10, "200"},
      {"bytes=-", 10, "200"},
      {"bytes=a-b", 10, "200"},
      {"bytes=0-1x", 10, "200"},
      {"bytes=0 - 1", 10, "200"},
      {"bytes=+0-1", 10, "200"},
      {"bytes=--1", 10, "200"},
      {"bytes=0-1-2", 10, "200"},
      {"bytes=0-1;2-3", 10, "200"},
      {"bytes 0-1", 10, "200"},
      {"bytes =0-1", 10, "200"},
      {"lines=0-1", 10, "200"},
      {"bytes=0-1,x", 10, "200"},
      {"bytes=0x0-1", 10, "200"},
      // Nothing to select from.
      {"bytes=0-", 0, "200"},
      {"bytes=-5", 0, "200"},
      {"bytes=5-2", 0, "416"},
  };
  for (const auto& c : cases) EXPECT_EQ(selected(c.field, c.size), c.outcome) << c.field;
  EXPECT_EQ(parse_range(repeated("0-0", 16), 100).ranges.size(), 16U);
}

TEST(Range, ContentRange) { EXPECT_EQ(content_range({0, 100}, 1234), "bytes 0-99/1234"); }

}  // namespace
}  // namespace http

#include "http/cdn_loop.h"

#include <gtest/gtest.h>

namespace http {
namespace {

TEST(CdnLoop, NamesAreFound) {
  EXPECT_TRUE(has_passed("edge-1", "edge-1"));
  EXPECT_TRUE(has_passed("other, EDGE-1 ; v=1, third", "edge-1"));
  EXPECT_TRUE(has_passed("other; say=\"a, b\\\",c\", edge-1", "edge-1"));
  EXPECT_FALSE(has_passed("", "edge-1"));
  EXPECT_FALSE(has_passed("edge-10, my-edge-1", "edge-1"));
  EXPECT_FALSE(has_passed("other; say=\", edge-1, \"", "edge-1"));
  EXPECT_FALSE(has_passed(",;,\"", "edge-1"));
}

TEST(CdnLoop, WhatOthersMayRefuseDoesNotGoOn) {
  EXPECT_TRUE(can_go_on(""));
  EXPECT_TRUE(can_go_on("other; say=\"a, b\",\tthird.example:8443"));
  EXPECT_TRUE(can_go_on(std::string(1024, 'a')));
  EXPECT_FALSE(can_go_on(std::string(1025, 'a')));
  EXPECT_FALSE(can_go_on("edge\x01"));
  EXPECT_FALSE(can_go_on("caf\xc3\xa9"));
}

TEST(CdnLoop, NamesAreTokens) {
  EXPECT_TRUE(is_token("edge-1.example_2"));
  EXPECT_FALSE(is_token(""));
  EXPECT_FALSE(is_token("edge 1"));
  EXPECT_FALSE(is_token("edge;1"));
}

}  // namespace
}  // namespace http

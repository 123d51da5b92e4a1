#include "cache/ghost_queue.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/cache/content.h"

namespace cache {
namespace {

oci::Digest blob(const std::string& name) { return test::digest_of(name); }

TEST(GhostQueueTest, AGhostIsTakenOnce) {
  GhostQueue ghosts;
  ghosts.add(blob("a"), 10);
  EXPECT_FALSE(ghosts.take(blob("b")));
  EXPECT_TRUE(ghosts.take(blob("a")));
  EXPECT_FALSE(ghosts.take(blob("a")));
}

TEST(GhostQueueTest, ForgetsTheOldest) {
  GhostQueue ghosts;
  for (const char* name : {"a", "b", "c"}) ghosts.add(blob(name), 2);
  EXPECT_FALSE(ghosts.take(blob("a")));
  EXPECT_TRUE(ghosts.take(blob("b")));
  EXPECT_TRUE(ghosts.take(blob("c")));
}

TEST(GhostQueueTest, WhatIsAddedAgainIsNewAgain) {
  GhostQueue ghosts;
  ghosts.add(blob("a"), 3);
  ghosts.add(blob("b"), 3);
  ghosts.add(blob("a"), 3);
  ghosts.add(blob("c"), 2);
  EXPECT_FALSE(ghosts.take(blob("b")));
  EXPECT_TRUE(ghosts.take(blob("a")));
}

TEST(GhostQueueTest, MayBeToldToRememberNothing) {
  GhostQueue ghosts;
  ghosts.add(blob("a"), 0);
  EXPECT_FALSE(ghosts.take(blob("a")));
}

}  // namespace
}  // namespace cache

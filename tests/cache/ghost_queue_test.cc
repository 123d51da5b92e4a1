#include "cache/ghost_queue.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/cache/content.h"

namespace cache {
namespace {

using test::digest_of;

TEST(GhostQueueTest, AGhostIsTakenOnce) {
  GhostQueue ghosts;
  ghosts.add(digest_of("a"), 10);
  EXPECT_FALSE(ghosts.take(digest_of("b")));
  EXPECT_TRUE(ghosts.take(digest_of("a")));
  EXPECT_FALSE(ghosts.take(digest_of("a")));
}

TEST(GhostQueueTest, ForgetsTheOldest) {
  GhostQueue ghosts;
  for (const char* name : {"a", "b", "c"}) ghosts.add(digest_of(name), 2);
  EXPECT_FALSE(ghosts.take(digest_of("a")));
  EXPECT_TRUE(ghosts.take(digest_of("b")));
  EXPECT_TRUE(ghosts.take(digest_of("c")));
}

TEST(GhostQueueTest, WhatIsAddedAgainIsNewAgain) {
  GhostQueue ghosts;
  ghosts.add(digest_of("a"), 3);
  ghosts.add(digest_of("b"), 3);
  ghosts.add(digest_of("a"), 3);
  ghosts.add(digest_of("c"), 2);
  EXPECT_FALSE(ghosts.take(digest_of("b")));
  EXPECT_TRUE(ghosts.take(digest_of("a")));
}

TEST(GhostQueueTest, MayBeToldToRememberNothing) {
  GhostQueue ghosts;
  ghosts.add(digest_of("a"), 0);
  EXPECT_FALSE(ghosts.take(digest_of("a")));
}

}  // namespace
}  // namespace cache

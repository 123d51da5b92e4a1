#include "proxy/progress.h"

#include <gtest/gtest.h>

#include "cache/blob_store.h"

namespace proxy {
namespace {

constexpr uint64_t kBlock = cache::kBlockSize;

TEST(Progress, WhatWasThereIsNobodysToFetch) {
  Progress progress;
  progress.start(4 * kBlock, {{0, kBlock}, {kBlock, 2 * kBlock}});
  EXPECT_FALSE(progress.claim(0, kBlock));
  EXPECT_EQ(progress.readable(0).bytes, 2 * kBlock);
  EXPECT_TRUE(progress.claim(2 * kBlock, 3 * kBlock));
}

TEST(Progress, PublishedBytesMergeIntoOneRun) {
  Progress progress;
  progress.start(10 * kBlock, {});
  progress.publish({100, 200});
  progress.publish({300, 400});
  EXPECT_EQ(progress.present(0), 0U);
  EXPECT_EQ(progress.present(100), 100U);
  EXPECT_EQ(progress.present(200), 0U);
  progress.publish({200, 300});
  EXPECT_EQ(progress.present(100), 300U);
  progress.publish({0, 1000});
  EXPECT_EQ(progress.front(), 1000U);
  EXPECT_TRUE(progress.covers({0, 1000}));
  EXPECT_FALSE(progress.covers({0, 1001}));
}

TEST(Progress, LastBlockIsClosedUntilVerified) {
  Progress progress;
  progress.start(2 * kBlock + 5, {});
  progress.publish({0, 2 * kBlock + 5});
  EXPECT_EQ(progress.readable(0).bytes, 2 * kBlock);
  EXPECT_EQ(progress.readable(2 * kBlock).bytes, 0U);
  progress.verify();
  EXPECT_EQ(progress.readable(0).bytes, 2 * kBlock + 5);
  EXPECT_EQ(progress.readable(2 * kBlock).bytes, 5U);
}

TEST(Progress, BlobOfExactlyOneBlockIsClosedAsAWhole) {
  Progress progress;
  progress.start(kBlock, {});
  progress.publish({0, kBlock});
  EXPECT_EQ(progress.readable(0).bytes, 0U);
  EXPECT_EQ(progress.readable(kBlock - 1).bytes, 0U);
}

TEST(Progress, UnverifiedBytesCloseWhenTheFillFails) {
  Progress progress;
  progress.start(3 * kBlock, {});
  progress.publish({0, 2 * kBlock});
  EXPECT_EQ(progress.readable(0).bytes, 2 * kBlock);
  progress.end({Outcome::digest_mismatch, "wrong", ""});
  EXPECT_EQ(progress.readable(0).bytes, 0U);
  EXPECT_TRUE(progress.readable(0).over);
}

TEST(Progress, VerifiedBytesStayOpenWhenStoringFails) {
  Progress progress;
  progress.start(3 * kBlock, {{0, 3 * kBlock}}, true);
  progress.verify();
  progress.end({Outcome::storage_failed, "EIO", ""});
  EXPECT_EQ(progress.readable(0).bytes, 3 * kBlock);
}

TEST(Progress, WhatAnEarlierFillLeftIsClosedUntilVerified) {
  Progress progress;
  progress.start(8 * kBlock, {{2 * kBlock, 3 * kBlock}}, true);
  progress.publish({0, 2 * kBlock});
  progress.publish({3 * kBlock, 4 * kBlock});
  EXPECT_EQ(progress.readable(0).bytes, 2 * kBlock);
  EXPECT_EQ(progress.readable(2 * kBlock + 7).bytes, 0U);
  EXPECT_EQ(progress.readable(3 * kBlock).bytes, kBlock);
  progress.verify();
  EXPECT_EQ(progress.readable(0).bytes, 4 * kBlock);
}

TEST(Progress, ClaimsStopAtWhatOthersHaveOrFetch) {
  Progress progress;
  progress.start(10 * kBlock, {{5 * kBlock, 6 * kBlock}}, true);
  const Claim far = progress.claim(8 * kBlock, 20 * kBlock);
  ASSERT_TRUE(far);
  EXPECT_EQ(far.span().end, 10 * kBlock);
  EXPECT_FALSE(progress.claim(9 * kBlock, 10 * kBlock)) << "claimed by another run";
  EXPECT_FALSE(progress.claim(5 * kBlock, 10 * kBlock)) << "already there";
  {
    const Claim front = progress.claim(0, 10 * kBlock);
    ASSERT_TRUE(front);
    EXPECT_EQ(front.span().end, 5 * kBlock);
  }
  const Claim middle = progress.claim(6 * kBlock, 10 * kBlock);
  ASSERT_TRUE(middle);
  EXPECT_EQ(middle.span().end, 8 * kBlock);
  EXPECT_TRUE(progress.claim(0, kBlock)) << "given back when the first was destroyed";
}

TEST(Progress, ClosedGivesNoClaimAndKnowsWhenTheLastIsGone) {
  Progress progress;
  progress.start(10 * kBlock, {});
  {
    const Claim held = progress.claim(0, kBlock);
    ASSERT_TRUE(held);
    EXPECT_FALSE(progress.close());
    EXPECT_FALSE(progress.claim(5 * kBlock, 6 * kBlock));
  }
  EXPECT_TRUE(progress.close());
}

TEST(Progress, ClaimsAreLimited) {
  Progress progress;
  progress.start(100 * kBlock, {});
  std::vector<Claim> held;
  for (uint64_t i = 0; i < Progress::kMaxClaims; ++i) {
    held.push_back(progress.claim(2 * i * kBlock, (2 * i + 1) * kBlock));
    ASSERT_TRUE(held.back());
  }
  EXPECT_FALSE(progress.claim(99 * kBlock, 100 * kBlock));
}

}  // namespace
}  // namespace proxy

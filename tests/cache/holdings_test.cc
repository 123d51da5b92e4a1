#include "cache/holdings.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/cache/content.h"

namespace cache {
namespace {

constexpr uint64_t kPage = 4096;

oci::Digest blob(uint64_t number) { return test::digest_of(std::to_string(number)); }

class HoldingsTest : public testing::Test {
 protected:
  std::shared_ptr<const Blob> use(uint64_t number) {
    const auto pin = holdings_.pin(blob(number));
    return pin ? holdings_.opened(*pin, base::UniqueFd()) : nullptr;
  }
  Holdings holdings_{{.capacity = 10 * kPage, .hot_blobs = 2}};
};

TEST_F(HoldingsTest, GivesEachUseOnceAndInOrder) {
  holdings_.load(blob(1), {kPage, 0, 100});
  holdings_.load(blob(2), {kPage, 0, 200});
  use(2);
  use(1);
  use(2);
  const auto uses = holdings_.take_uses();
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].first, blob(2));
  EXPECT_EQ(uses[1].first, blob(1));
  EXPECT_GT(uses[0].second.last_used, uses[1].second.last_used);
  EXPECT_EQ(uses[0].second.place.uses, 2);
  EXPECT_TRUE(holdings_.take_uses().empty());
  use(1);
  EXPECT_EQ(holdings_.take_uses().size(), 1U);
}

TEST_F(HoldingsTest, UsesGoForwardEvenIfTheClockDoesNot) {
  constexpr int64_t kFuture = int64_t{1} << 60;
  holdings_.load(blob(1), {kPage, 0, kFuture});
  use(1);
  EXPECT_GT(holdings_.take_uses().at(0).second.last_used, kFuture);
}

TEST_F(HoldingsTest, AClockThatJumpsBackChangesNoOrder) {
  int64_t now = int64_t{1} << 50;
  Holdings holdings({.capacity = 10 * kPage, .hot_blobs = 2, .wall_clock = [&] { return now; }});
  for (uint64_t i = 1; i <= 3; ++i) holdings.load(blob(i), {kPage, 0, static_cast<int64_t>(i)});
  const auto open = [&](uint64_t number) {
    return holdings.opened(*holdings.pin(blob(number)), base::UniqueFd());
  };
  open(1);
  now -= int64_t{10} * 3600 * 1'000'000;
  open(2);
  now += int64_t{20} * 3600 * 1'000'000;
  open(3);
  const auto uses = holdings.take_uses();
  ASSERT_EQ(uses.size(), 3U);
  EXPECT_LT(uses[0].second.last_used, uses[1].second.last_used);
  EXPECT_LT(uses[1].second.last_used, uses[2].second.last_used);
  auto victims = holdings.take_victims(kPage);
  ASSERT_TRUE(victims);
  EXPECT_EQ(victims->front().digest, blob(1));
}

TEST_F(HoldingsTest, WhatIsHeldOrWrittenIsNotFoundInTheTree) {
  EXPECT_TRUE(holdings_.load_found(blob(1), {kPage, 0, 100}));
  EXPECT_FALSE(holdings_.load_found(blob(1), {kPage, 0, 100}));
  holdings_.begin_write(blob(2), "");
  EXPECT_FALSE(holdings_.load_found(blob(2), {kPage, 0, 100}));
  holdings_.end_write(blob(2));
  EXPECT_EQ(holdings_.stats().blobs, 1U);
}

TEST_F(HoldingsTest, TakesAllOrNothingOrWhatThereIs) {
  holdings_.load(blob(1), {kPage, 0, 100});
  holdings_.load(blob(2), {kPage, 0, 200});
  const auto reader = use(1);
  EXPECT_FALSE(holdings_.take_victims(2 * kPage));
  EXPECT_EQ(holdings_.take_some(2 * kPage).size(), 1U);
  EXPECT_TRUE(holdings_.take_some(2 * kPage).empty()) << "nothing is left to take";
}

TEST_F(HoldingsTest, TakesSomeAtATime) {
  constexpr uint64_t kBlobs = Holdings::kMostAtOnce + 10;
  for (uint64_t i = 0; i < kBlobs; ++i) {
    holdings_.load(blob(i), {.size = kPage, .stored_at = 0, .last_used = 0, .account = "a"});
  }
  holdings_.set_limits(1000 * kPage, {{"a", 5 * kPage}});
  EXPECT_EQ(holdings_.take_above_quotas().size(), Holdings::kMostAtOnce);
  EXPECT_EQ(holdings_.take_above_quotas().size(), 5U);
  EXPECT_TRUE(holdings_.take_above_quotas().empty());
  for (uint64_t i = kBlobs; i < 2 * kBlobs; ++i) holdings_.load(blob(i), {kPage, 0, 0});
  EXPECT_EQ(holdings_.take_some(kBlobs * kPage).size(), Holdings::kMostAtOnce);
  EXPECT_EQ(holdings_.take_some(3 * kPage).size(), 3U);
}

TEST_F(HoldingsTest, CoolingClosesWhatNobodyReads) {
  for (uint64_t i = 1; i <= 2; ++i) holdings_.load(blob(i), {kPage, 0, 100});
  const auto reader = use(1);
  use(2);
  holdings_.cool();
  EXPECT_EQ(holdings_.open_blob(blob(2)), nullptr);
  EXPECT_EQ(holdings_.open_blob(blob(1)), reader);
}

TEST_F(HoldingsTest, GivesManyUsesInPortions) {
  for (uint64_t i = 0; i < 2000; ++i) holdings_.load(blob(i), {0, 0, 0});
  for (uint64_t i = 0; i < 2000; ++i) use(i);
  EXPECT_EQ(holdings_.take_uses().size(), 1024U);
  EXPECT_EQ(holdings_.uses(), 976U);
  EXPECT_EQ(holdings_.take_uses().size(), 976U);
  EXPECT_TRUE(holdings_.take_uses().empty());
}

TEST_F(HoldingsTest, WhatIsBeingOpenedIsInUse) {
  holdings_.load(blob(1), {10 * kPage, 0, 100});
  {
    const auto pin = holdings_.pin(blob(1));
    EXPECT_FALSE(holdings_.take_victims(kPage));
  }
  EXPECT_TRUE(holdings_.take_victims(kPage));
}

TEST_F(HoldingsTest, TheHotTableAloneIsNoUse) {
  holdings_.load(blob(1), {10 * kPage, 0, 100});
  auto reader = use(1);
  EXPECT_FALSE(holdings_.take_victims(kPage));
  reader.reset();
  EXPECT_NE(holdings_.open_blob(blob(1)), nullptr) << "still hot";
  EXPECT_TRUE(holdings_.take_victims(kPage));
}

TEST_F(HoldingsTest, WhatWasTakenTakesSpaceUntilItIsGone) {
  holdings_.load(blob(1), {10 * kPage, 0, 100});
  auto victims = holdings_.take_victims(kPage);
  ASSERT_TRUE(victims);
  EXPECT_FALSE(holdings_.contains(blob(1)));
  EXPECT_FALSE(holdings_.try_reserve(kPage, Room::file, holdings_.limit()));
  EXPECT_EQ(holdings_.stats().unlinked_bytes, 10 * kPage);
  victims->clear();
  EXPECT_TRUE(holdings_.try_reserve(kPage, Room::file, holdings_.limit()));
}

TEST_F(HoldingsTest, WhatWasPutBackIsHeldAsBefore) {
  holdings_.load(blob(1), {5 * kPage, 0, 100});
  holdings_.load_partial(blob(2), 3 * kPage, 3 * kPage, 200);  // and two pages for its map
  auto victims = holdings_.take_victims(10 * kPage);
  ASSERT_TRUE(victims);
  EXPECT_EQ(victims->size(), 2U);
  holdings_.put_back(std::move(*victims));
  EXPECT_TRUE(holdings_.contains(blob(1)));
  EXPECT_EQ(holdings_.partial_size(blob(2)), 3 * kPage);
  EXPECT_EQ(holdings_.stats().blob_bytes, 5 * kPage);
  EXPECT_EQ(holdings_.stats().reserved_bytes, 5 * kPage);
}

TEST_F(HoldingsTest, APinIsNotMistakenForTheBlobThatReplacedIt) {
  holdings_.load(blob(1), {kPage, 0, 100});
  const auto pin = holdings_.pin(blob(1));
  ASSERT_TRUE(holdings_.take(blob(1)));
  holdings_.load(blob(1), {kPage, 0, 200});
  EXPECT_FALSE(holdings_.take(blob(1), &*pin));
  EXPECT_NE(holdings_.opened(*pin, base::UniqueFd()), nullptr) << "its bytes are good";
  EXPECT_EQ(holdings_.open_blob(blob(1)), nullptr) << "but the new one is not open";
}

}  // namespace
}  // namespace cache

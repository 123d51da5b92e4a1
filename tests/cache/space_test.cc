#include "cache/space.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <limits>
#include <thread>
#include <vector>

namespace cache {
namespace {

constexpr uint64_t kMiB = 1 << 20;

uint64_t missing(const Space& space, uint64_t bytes) {
  return space.usage().missing(bytes, Room::file, space.capacity());
}

TEST(Space, CountsWholeDiskBlocks) {
  EXPECT_EQ(Space::on_disk(0), 0U);
  EXPECT_EQ(Space::on_disk(1), 4096U);
  EXPECT_EQ(Space::on_disk(4096), 4096U);
  EXPECT_EQ(Space::on_disk(4097), 8192U);
}

TEST(Space, GivesBackOnDestruction) {
  Space space(8192);
  {
    const auto first = space.try_reserve(8192);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->bytes(), 8192U);
    EXPECT_EQ(space.used(), 8192U);
    EXPECT_FALSE(space.try_reserve(1));
    EXPECT_EQ(missing(space, 4096), 4096U);
  }
  EXPECT_EQ(space.used(), 0U);
  EXPECT_EQ(missing(space, 8192), 0U);
}

TEST(Space, MovesCarryTheRoom) {
  Space space(3 * 4096);
  auto first = *space.try_reserve(4096);
  auto second = *space.try_reserve(8192);
  first = std::move(second);  // gives back what it had
  EXPECT_EQ(space.used(), 8192U);
  const Space::Reservation third = std::move(first);
  EXPECT_EQ(space.used(), 8192U);
  EXPECT_EQ(third.bytes(), 8192U);
}

TEST(Space, WhatIsFoundAtStartMayExceedTheCapacity) {
  Space space(4096);
  const auto found = space.cover_found(8192);
  auto more = std::optional(space.cover_found(4096));
  EXPECT_EQ(space.used(), 12288U);
  EXPECT_FALSE(space.try_reserve(0));
  EXPECT_EQ(missing(space, 0), 8192U);
  EXPECT_EQ(space.limit(), 12288U);
  EXPECT_EQ(space.usage().missing(4096, Room::file, space.limit()), 4096U);
  more.reset();
  EXPECT_EQ(space.limit(), 8192U);
}

TEST(Space, AboveASmallerCapacityItNeverGrows) {
  Space space(16384);
  auto first = *space.try_reserve(8192);
  auto second = space.try_reserve(8192);
  space.set_capacity(4096);
  EXPECT_FALSE(space.try_reserve(0));
  EXPECT_EQ(missing(space, 0), 12288U);
  // What one gives up another may have …
  const uint64_t limit = space.limit();
  EXPECT_EQ(limit, 16384U);
  EXPECT_EQ(space.usage().missing(4096, Room::file, limit), 4096U);
  first.shrink(4096);
  auto third = space.try_reserve(4096, Room::file, limit);
  ASSERT_TRUE(third);
  EXPECT_FALSE(space.try_reserve(1, Room::file, limit));
  // … but what nobody has taken is gone.
  third.reset();
  EXPECT_EQ(space.limit(), 12288U);
  second.reset();
  EXPECT_EQ(space.limit(), 4096U);
  EXPECT_EQ(missing(space, 0), 0U);
}

TEST(Space, WhatExceedsItOtherwiseIsNotAllowed) {
  Space space(8192);
  const auto first = space.try_reserve(8192);
  space.set_index(4096, kMiB);
  EXPECT_EQ(space.used(), 12288U);
  EXPECT_EQ(space.limit(), 8192U);
  space.set_capacity(12288);
  EXPECT_EQ(space.limit(), 12288U);
}

TEST(Space, AbsurdSizesDoNotWrapAround) {
  Space space(1 << 20);
  EXPECT_FALSE(space.try_reserve(std::numeric_limits<uint64_t>::max()));
  EXPECT_FALSE(space.try_reserve(std::numeric_limits<uint64_t>::max() - 4096));
  EXPECT_EQ(space.used(), 0U);
}

TEST(Space, OutlivedByAReservation) {
  std::optional<Space::Reservation> reservation;
  {
    Space space(4096);
    reservation = space.try_reserve(4096);
  }
  EXPECT_EQ(reservation->bytes(), 4096U);
}

TEST(Space, KnowsWhatTheFileSystemDoesNotCountYet) {
  Space space(10 * 4096);
  {
    auto first = *space.try_reserve(3 * 4096);
    const auto found = space.cover_found(2 * 4096, Room::file, 4096);
    EXPECT_EQ(space.usage().unallocated(), 4 * 4096U);
    first.allocated(4096);
    EXPECT_EQ(space.usage().unallocated(), 3 * 4096U);
    first.allocated(100 * 4096);  // more than is left: all of it
    EXPECT_EQ(space.usage().unallocated(), 4096U);
    EXPECT_EQ(space.used(), 5 * 4096U);
  }
  EXPECT_EQ(space.usage().unallocated(), 0U);
  EXPECT_EQ(space.used(), 0U);
}

TEST(Space, AReservationShrinks) {
  Space space(10 * 4096);
  auto room = *space.try_reserve(5 * 4096);
  room.allocated(4096);
  room.shrink(2 * 4096);
  EXPECT_EQ(space.used(), 2 * 4096U);
  EXPECT_EQ(space.usage().unallocated(), 2 * 4096U) << "which of them are there is not known";
  room.shrink(4 * 4096);
  EXPECT_EQ(room.bytes(), 2 * 4096U);
  room.shrink(4096);
  EXPECT_EQ(space.usage().unallocated(), 4096U);
}

TEST(Space, OfTheIndexCountsWhatItsFileHasOrWhatIsReservedInIt) {
  Space space(10 * kMiB);
  auto small = std::optional(*space.try_reserve(2 * kMiB, Room::index, space.limit()));
  EXPECT_EQ(space.used(), 2 * kMiB);
  space.set_index(2 * kMiB, 5 * kMiB);
  EXPECT_EQ(space.used(), 6 * kMiB) << "but for 1 MiB";
  EXPECT_TRUE(space.try_reserve(4 * kMiB, Room::file, space.limit()));
  EXPECT_FALSE(space.try_reserve(4 * kMiB + 1, Room::file, space.limit()));
  // What the file has is there for other small blobs, and more of it is not needed.
  const auto large = *space.try_reserve(4 * kMiB, Room::file, space.limit());
  const auto another = *space.try_reserve(4 * kMiB, Room::index, space.limit());
  EXPECT_EQ(space.used(), 10 * kMiB);
  EXPECT_FALSE(space.try_reserve(1, Room::index, space.limit()));
  small.reset();
  EXPECT_EQ(space.used(), 10 * kMiB) << "given back to the index alone";
  EXPECT_TRUE(space.try_reserve(2 * kMiB, Room::index, space.limit()));
}

TEST(Space, WhatTheIndexHasFreeNeedsNoDisk) {
  Space space(10 * kMiB);
  space.set_index(0, 2 * kMiB);
  auto small = *space.try_reserve(3 * kMiB, Room::index, space.limit());
  EXPECT_EQ(space.usage().unallocated(), 2 * kMiB);
  small.allocated(small.bytes());
  EXPECT_EQ(space.usage().unallocated(), 0U);
}

TEST(Space, TellsWhatWouldBeIfABlobWereGone) {
  Space space(10 * kMiB);
  const auto file = *space.try_reserve(kMiB);
  const auto small = *space.try_reserve(5 * kMiB, Room::index, space.limit());
  space.set_index(4 * kMiB, kMiB);
  Space::Usage usage = space.usage();
  EXPECT_EQ(usage.missing(5 * kMiB, Room::file, 10 * kMiB), kMiB);
  usage.remove(2 * kMiB, Room::index);
  EXPECT_EQ(usage.missing(5 * kMiB, Room::file, 10 * kMiB), 0U) << "what its file does not have";
  EXPECT_EQ(usage.missing(6 * kMiB, Room::file, 10 * kMiB), kMiB);
  EXPECT_EQ(usage.missing(6 * kMiB, Room::index, 10 * kMiB), 0U);
  usage.remove(kMiB, Room::file);
  EXPECT_EQ(usage.missing(6 * kMiB, Room::file, 10 * kMiB), 0U);
}

TEST(Space, AFloodOfReservationsNeverExceedsTheCapacity) {
  constexpr uint64_t kCapacity = 10 * 4096;
  constexpr int kThreads = 8;
  Space space(kCapacity);
  std::barrier start(kThreads);
  std::atomic<bool> exceeded = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      for (int round = 0; round < 5000; ++round) {
        const auto first = space.try_reserve(static_cast<uint64_t>(1 + i % 3) * 4096);
        const auto second = space.try_reserve(4096);
        if (space.used() > kCapacity) exceeded = true;
      }
    });
  }
  threads.clear();
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(space.used(), 0U);
}

}  // namespace
}  // namespace cache

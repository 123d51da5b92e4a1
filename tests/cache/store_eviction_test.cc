// What the store evicts, and what it does not: through its files and its index.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>

#include "base/fault_point.h"
#include "cache/index.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;

class StoreEvictionTest : public test::StoreTest {
 protected:
  void open_with(BlobStoreOptions options) {
    store.reset();
    options.root = root();
    store = std::make_unique<BlobStore>(options);
  }
  // False if there was no room.
  bool put(uint64_t seed, uint64_t size, std::string_view account = "") {
    const std::string bytes = content(seed, size);
    auto writer = store->write(digest_of(bytes), size, account);
    if (!writer) return false;
    test::write_blocks(**writer, bytes, 0, (*writer)->blocks());
    (*writer)->commit();
    return true;
  }
  bool contains(uint64_t seed, uint64_t size) const {
    return store->contains(digest_of(content(seed, size)));
  }
  void use(uint64_t seed, uint64_t size) {
    EXPECT_NE(store->open(digest_of(content(seed, size))), nullptr);
  }
  // More than are saved at once.
  static constexpr uint64_t kBlobs = 1100;
  void make_blobs() {
    open();
    store.reset();
    Index::Content content_of_index;
    for (uint64_t i = 0; i < kBlobs; ++i) {
      const std::string bytes = content(i, 100);
      write_file(layout.blob(digest_of(bytes)), bytes);
      content_of_index.blobs.emplace(digest_of(bytes), IndexRecord{100, 0, 0});
    }
    Index::create(layout.index(), content_of_index);
  }
  void use_blobs() {
    for (uint64_t i = 0; i < kBlobs; ++i) use(i, 100);
  }
  uint64_t bytes_of(const std::string& account) const {
    return store->stats().accounts[account].bytes;
  }
};

TEST_F(StoreEvictionTest, BlobsThatAreAskedForOnceDoNotPushOutWhatIsUsed) {
  open(10 * kMiB);
  for (uint64_t i = 0; i < 8; ++i) {
    put(i, kMiB);
    use(i, kMiB);
  }
  for (uint64_t i = 100; i < 130; ++i) put(i, kMiB);
  for (uint64_t i = 0; i < 8; ++i) EXPECT_TRUE(contains(i, kMiB)) << i;
  expect_consistent();
}

// An open would wait for the disk.
TEST_F(StoreEvictionTest, ManyUsesAreSavedByTheStoresThread) {
  make_blobs();
  open();
  std::atomic<int> here = 0;
  std::atomic<int> elsewhere = 0;
  const base::InjectedFault commits("index.commit",
                                    [&, self = std::this_thread::get_id()](std::string_view) {
                                      ++(std::this_thread::get_id() == self ? here : elsewhere);
                                      return 0;
                                    });
  use_blobs();
  use(0, 100);
  while (here + elsewhere == 0) std::this_thread::yield();
  EXPECT_EQ(here, 0);
}

// Or the limits would not be kept, and the store not end.
TEST_F(StoreEvictionTest, TheStoresThreadDoesOtherThingsBetweenUsesThatNeverEnd) {
  make_blobs();
  std::atomic<int> looks = 0;
  open_with({.capacity = 100 * kMiB, .min_free = 1, .free_bytes = [&] { return ++looks, kMiB; }});
  std::atomic<int> commits = 0;
  int first = 0;
  int second = 0;
  const base::InjectedFault more("index.commit", [&](std::string_view) {
    if (commits == 2) return 0;
    (commits == 0 ? first : second) = looks;
    use_blobs();
    ++commits;
    return 0;
  });
  use_blobs();
  while (commits < 2) std::this_thread::yield();
  EXPECT_GT(second, first);
  store.reset();
}

TEST_F(StoreEvictionTest, SmallBlobsSurviveAFloodOfLargeOnes) {
  constexpr uint64_t kSmall = 100'000;
  open(20 * kMiB);  // of which 1 MiB is kept for the small
  for (uint64_t i = 0; i < 10; ++i) put(i, kSmall);
  std::vector<std::unique_ptr<BlobWriter>> writers;
  for (uint64_t i = 100; i < 120; ++i) {
    auto writer = store->write(digest_of(std::to_string(i)), 3 * kMiB);
    if (writer) writers.push_back(std::move(*writer));
    const StoreStats stats = store->stats();
    EXPECT_LE(stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes, stats.capacity);
  }
  EXPECT_EQ(writers.size(), 6U) << "the rest find no room";
  for (uint64_t i = 0; i < 10; ++i) EXPECT_TRUE(contains(i, kSmall)) << i;
  writers.clear();
  for (uint64_t i = 200; i < 220; ++i) EXPECT_TRUE(put(i, 3 * kMiB));
  for (uint64_t i = 0; i < 10; ++i) EXPECT_TRUE(contains(i, kSmall)) << i;
  expect_consistent();
}

TEST_F(StoreEvictionTest, TheStateSurvivesARestart) {
  open(10 * kMiB);
  for (uint64_t i = 0; i < 9; ++i) put(i, kMiB);
  for (const uint64_t used : {1, 4, 7}) use(used, kMiB);
  put(9, kMiB);
  put(10, kMiB);  // 0 goes
  open(10 * kMiB);
  // Of those on probation the oldest go first, and the used ones stay.
  for (uint64_t i = 20; i < 23; ++i) put(i, kMiB);
  for (const uint64_t gone : {0, 2, 3, 5}) EXPECT_FALSE(contains(gone, kMiB)) << gone;
  for (const uint64_t kept : {1, 4, 6, 7, 8}) EXPECT_TRUE(contains(kept, kMiB)) << kept;
  for (uint64_t i = 30; i < 40; ++i) put(i, kMiB);
  for (const uint64_t kept : {1, 4, 7}) EXPECT_TRUE(contains(kept, kMiB)) << kept;
  expect_consistent();
}

TEST_F(StoreEvictionTest, AHitWritesNothing) {
  open(10 * kMiB);
  for (uint64_t i = 0; i < 5; ++i) put(i, 1000);
  const std::string before = read_file(layout.index() / "data.mdb");
  for (int round = 0; round < 1000; ++round) {
    for (uint64_t i = 0; i < 5; ++i) use(i, 1000);
  }
  EXPECT_TRUE(read_file(layout.index() / "data.mdb") == before);
  put(6, 1000);  // takes the uses along
  EXPECT_FALSE(read_file(layout.index() / "data.mdb") == before);
}

TEST_F(StoreEvictionTest, APinnedBlobStaysUntilItIsNotPinned) {
  open(3 * kMiB);
  put(1, kMiB);
  EXPECT_TRUE(store->pin(digest_of(content(1, kMiB)), true));
  EXPECT_FALSE(store->pin(digest_of("not held"), true));
  for (uint64_t i = 10; i < 20; ++i) EXPECT_TRUE(put(i, 2 * kMiB));
  EXPECT_FALSE(put(20, 3 * kMiB));
  EXPECT_TRUE(contains(1, kMiB));
  open(3 * kMiB);
  for (uint64_t i = 30; i < 40; ++i) EXPECT_TRUE(put(i, 2 * kMiB));
  EXPECT_TRUE(contains(1, kMiB));
  expect_consistent();
  EXPECT_TRUE(store->pin(digest_of(content(1, kMiB)), false));
  open(3 * kMiB);
  EXPECT_TRUE(put(50, 3 * kMiB));
  EXPECT_FALSE(contains(1, kMiB));
}

TEST_F(StoreEvictionTest, APinOutlivesTheCopy) {
  const std::string bytes = content(1, kMiB);
  open(3 * kMiB);
  put(1, kMiB);
  store->pin(digest_of(bytes), true);
  open(3 * kMiB);
  std::filesystem::resize_file(layout.blob(digest_of(bytes)), 5);
  EXPECT_EQ(store->open(digest_of(bytes)), nullptr);
  put(1, kMiB);
  for (uint64_t i = 10; i < 15; ++i) put(i, 2 * kMiB);
  EXPECT_TRUE(contains(1, kMiB));
  open(3 * kMiB);
  for (uint64_t i = 20; i < 25; ++i) put(i, 2 * kMiB);
  EXPECT_TRUE(held(bytes));
  store->remove(digest_of(bytes));
  put(1, kMiB);
  for (uint64_t i = 30; i < 35; ++i) put(i, 2 * kMiB);
  EXPECT_FALSE(contains(1, kMiB)) << "who removes it does not want it";
  expect_consistent();
}

TEST_F(StoreEvictionTest, TellsWhoseABlobIsAndWhetherItIsPinned) {
  open(10 * kMiB);
  put(1, 1000, "one");
  put(2, 1000, "two");
  put(3, 1000, "one");
  const oci::Digest digest = digest_of(content(1, 1000));
  store->pin(digest, true);
  for (int round = 0; round < 2; ++round) {
    const std::optional<cache::BlobInfo> info = store->info(digest);
    ASSERT_TRUE(info);
    EXPECT_EQ(info->size, 1000U);
    EXPECT_EQ(info->account, "one");
    EXPECT_TRUE(info->pinned);
    EXPECT_GT(info->stored_at, 0);
    EXPECT_THAT(store->blobs_of("one"),
                testing::UnorderedElementsAre(digest, digest_of(content(3, 1000))));
    EXPECT_TRUE(store->blobs_of("nobody").empty());
    open(10 * kMiB);
  }
  EXPECT_FALSE(store->info(digest_of("not held")));
}

TEST_F(StoreEvictionTest, ReadingForAnAdministratorIsNoUse) {
  int64_t now = 1'000'000'000;  // microseconds
  open_with({.capacity = 10 * kMiB, .inline_limit = 1000, .wall_clock = [&now] { return now; }});
  for (const uint64_t size : {1000, 2000}) {  // in the index, and in a file
    put(size, size);
    const oci::Digest digest = digest_of(content(size, size));
    const int64_t before = store->info(digest)->last_used;
    now += 10'000'000;
    EXPECT_EQ(store->read(digest, size), content(size, size));
    EXPECT_EQ(store->read(digest, size - 1), std::nullopt);
    EXPECT_EQ(store->info(digest)->last_used, before);
    EXPECT_NE(store->open(digest), nullptr);
    EXPECT_EQ(store->info(digest)->last_used, before + 10);
  }
  EXPECT_EQ(store->read(digest_of("not held"), 1000), std::nullopt);
  store.reset();  // before its clock
}

TEST_F(StoreEvictionTest, RemovesSeveralAtOnce) {
  open(10 * kMiB);
  for (uint64_t i = 0; i < 4; ++i) put(i, 1000);
  const std::vector<oci::Digest> some = {digest_of(content(0, 1000)), digest_of("not held"),
                                         digest_of(content(2, 1000))};
  const cache::BlobStore::Removed removed = store->remove(some);
  EXPECT_EQ(removed.blobs, 2U);
  EXPECT_EQ(removed.bytes, 2000U);
  EXPECT_FALSE(contains(0, 1000));
  EXPECT_TRUE(contains(1, 1000));
  EXPECT_EQ(store->remove(some).blobs, 0U);
  expect_consistent();
}

TEST_F(StoreEvictionTest, PinnedBlobsBeyondASmallerCapacityAreKept) {
  open(3 * kMiB);
  for (uint64_t i = 0; i < 3; ++i) put(i, kMiB);
  for (uint64_t i = 0; i < 2; ++i) store->pin(digest_of(content(i, kMiB)), true);
  open(kMiB);
  store->keep_limits();
  EXPECT_TRUE(held(content(0, kMiB)));
  EXPECT_TRUE(held(content(1, kMiB)));
  EXPECT_FALSE(put(9, 1000));
  EXPECT_TRUE(store->remove(digest_of(content(0, kMiB)))) << "who removes it knows";
  EXPECT_TRUE(store->remove(digest_of(content(1, kMiB))));
  EXPECT_TRUE(put(9, 1000));
  expect_consistent();
}

TEST_F(StoreEvictionTest, AnAccountAtItsQuotaGivesUpItsOwn) {
  open_with({.capacity = 10 * kMiB, .quotas = {{"mirror", 3 * kMiB + kMap}}});
  for (uint64_t i = 0; i < 6; ++i) put(i, kMiB, "origin");
  for (uint64_t i = 10; i < 20; ++i) {
    EXPECT_TRUE(put(i, kMiB, "mirror"));
    EXPECT_LE(bytes_of("mirror"), 3 * kMiB);
  }
  for (uint64_t i = 0; i < 6; ++i) EXPECT_TRUE(contains(i, kMiB)) << i;
  for (uint64_t i = 17; i < 20; ++i) EXPECT_TRUE(contains(i, kMiB)) << i;
  EXPECT_EQ(store->stats().accounts["mirror"].blobs, 3U);
  EXPECT_EQ(bytes_of("origin"), 6 * kMiB);
  EXPECT_FALSE(put(30, 4 * kMiB, "mirror")) << "though there would be room";
  EXPECT_TRUE(contains(17, kMiB)) << "for nothing nothing goes";
  EXPECT_TRUE(put(30, 4 * kMiB, "origin"));
  expect_consistent();
}

TEST_F(StoreEvictionTest, WritersAndPartialBlobsCountForTheQuota) {
  open_with({.capacity = 10 * kMiB, .quotas = {{"mirror", 3 * kMiB + 2 * kMap}}});
  const std::string bytes = content(1, 2 * kMiB);
  auto writer = *store->write(digest_of(bytes), bytes.size(), "mirror");
  EXPECT_EQ(bytes_of("mirror"), 2 * kMiB + kMap);
  EXPECT_TRUE(put(2, kMiB, "mirror"));
  EXPECT_FALSE(put(3, 2 * kMiB, "mirror")) << "beside the writer";
  EXPECT_FALSE(contains(3, 2 * kMiB));
  test::write_blocks(*writer, bytes, 0, 1);
  writer.reset();
  EXPECT_EQ(bytes_of("mirror"), 3 * kMiB + kMap);
  EXPECT_TRUE(put(3, 2 * kMiB, "mirror")) << "the older blob goes, and the partial one";
  EXPECT_EQ(store->partial_size(digest_of(bytes)), std::nullopt);
  EXPECT_EQ(bytes_of("mirror"), 2 * kMiB);
  expect_consistent();
}

TEST_F(StoreEvictionTest, AnAccountSurvivesARestartAndASmallerQuotaEvicts) {
  open_with({.capacity = 10 * kMiB, .quotas = {{"mirror", 5 * kMiB}}});
  for (uint64_t i = 0; i < 5; ++i) put(i, kMiB, "mirror");
  for (uint64_t i = 10; i < 14; ++i) put(i, kMiB, "origin");
  open_with({.capacity = 10 * kMiB, .quotas = {{"mirror", 2 * kMiB}}});
  store->keep_limits();
  EXPECT_EQ(bytes_of("mirror"), 2 * kMiB);
  EXPECT_EQ(bytes_of("origin"), 4 * kMiB);
  EXPECT_TRUE(contains(3, kMiB));
  EXPECT_TRUE(contains(4, kMiB));
  expect_consistent();
}

TEST_F(StoreEvictionTest, OtherQuotasAreKeptFromThenOn) {
  open_with({.capacity = 20 * kMiB, .quotas = {{"mirror", 5 * kMiB + kMap}}});
  for (uint64_t i = 0; i < 5; ++i) put(i, kMiB, "mirror");
  for (uint64_t i = 10; i < 14; ++i) put(i, kMiB, "origin");
  store->set_limits({.capacity = 20 * kMiB,
                     .quotas = {{"mirror", 2 * kMiB}, {"origin", kMiB}, {"new", 3 * kMiB}}});
  store->keep_limits();
  EXPECT_EQ(bytes_of("mirror"), 2 * kMiB);
  EXPECT_TRUE(contains(4, kMiB));
  EXPECT_EQ(bytes_of("origin"), kMiB);
  EXPECT_EQ(store->stats().account("new").quota, 3 * kMiB);
  EXPECT_FALSE(put(20, 4 * kMiB, "new"));
  store->set_limits({.capacity = 20 * kMiB, .quotas = {{"mirror", 7 * kMiB}}});
  EXPECT_FALSE(store->stats().account("new").quota);
  EXPECT_TRUE(put(20, 4 * kMiB, "new"));
  EXPECT_TRUE(put(21, 4 * kMiB, "mirror"));
  EXPECT_EQ(bytes_of("mirror"), 6 * kMiB);
  expect_consistent();
}

TEST_F(StoreEvictionTest, APartialBlobThatAnotherAccountResumesIsItsOwn) {
  open_with({.capacity = 10 * kMiB, .quotas = {{"mirror", 2 * kMiB}}});
  const std::string bytes = content(1, 3 * kMiB);
  auto writer = *store->write(digest_of(bytes), bytes.size(), "origin");
  test::write_blocks(*writer, bytes, 0, 2);
  writer.reset();
  writer = *store->write(digest_of(bytes), bytes.size(), "other");
  EXPECT_TRUE(writer->has(1));
  EXPECT_EQ(bytes_of("origin"), 0U);
  EXPECT_EQ(bytes_of("other"), 3 * kMiB + kMap);
  writer.reset();
  EXPECT_FALSE(store->write(digest_of(bytes), bytes.size(), "mirror"));
  EXPECT_EQ(store->partial_size(digest_of(bytes)), std::nullopt);
  EXPECT_EQ(bytes_of("mirror"), 0U);
  expect_consistent();
}

}  // namespace
}  // namespace cache

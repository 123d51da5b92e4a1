// kill -9 at every named step of a fill, a commit and an eviction, and at any other time: after a
// restart what was committed is a hit, nothing else is served, and the accounting is the disk's.
#include <gtest/gtest.h>
#include <signal.h>

#include <charconv>
#include <sstream>
#include <string>
#include <vector>

#include "tests/cache/store_fixture.h"
#include "tests/support/process.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;
using test::write_blocks;

class CrashTest : public test::StoreTest {
 protected:
  // Runs the child to its death at the step and returns what it said.
  std::string crash_at(const std::string& step, uint64_t capacity,
                       std::vector<std::string> commands) {
    std::vector<std::string> argv = {CACHE_CRASH_CHILD, root().string(),
                                     std::to_string(capacity + kMap)};
    argv.insert(argv.end(), commands.begin(), commands.end());
    test::Process child(argv, {{"ENTREPOT_CRASH_AT", step}});
    EXPECT_EQ(child.wait(), -SIGKILL) << step << " was not reached:\n" << child.output();
    return child.output();
  }
  static std::string command(const std::string& what, uint64_t seed, uint64_t size) {
    return what + ":" + std::to_string(seed) + ":" + std::to_string(size);
  }
};

class CommitCrashTest : public CrashTest, public testing::WithParamInterface<const char*> {};

TEST_P(CommitCrashTest, LosesNothingThatWasAcknowledged) {
  constexpr uint64_t kSize = 3 * kMiB + 17;
  const std::string first = content(1, kSize);
  const std::string second = content(2, kSize);
  const std::string said = crash_at(std::string(GetParam()) + ":2", 100 * kMiB,
                                    {command("put", 1, kSize), command("put", 2, kSize)});
  EXPECT_THAT(said, testing::HasSubstr("committed " + digest_of(first).str()));
  EXPECT_THAT(said, testing::Not(testing::HasSubstr("committed " + digest_of(second).str())));

  open();
  expect_consistent();
  EXPECT_TRUE(held(first));
  if (std::string_view(GetParam()) == "commit.synced") {
    EXPECT_FALSE(store->contains(digest_of(second)));
    EXPECT_EQ(store->partial_size(digest_of(second)), kSize);
    auto writer = *store->write(digest_of(second), kSize);
    for (uint64_t block = 0; block < writer->blocks(); ++block) EXPECT_TRUE(writer->has(block));
    EXPECT_EQ(test::read_all(*writer->commit()), second);
  } else {
    EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
  }
  EXPECT_TRUE(held(second));
  open();
  EXPECT_TRUE(held(first));
  EXPECT_TRUE(held(second));
  expect_consistent();
}

INSTANTIATE_TEST_SUITE_P(Steps, CommitCrashTest,
                         testing::Values("commit.synced", "commit.renamed", "commit.indexed",
                                         "commit.map_removed"),
                         [](const auto& step) { return std::string(step.param).substr(7); });

TEST_F(CrashTest, ASmallBlobIsCommittedByOneTransaction) {
  const std::string said =
      crash_at("commit.inside:2", 100 * kMiB,
               {"inline:8192", command("put", 1, 5000), command("put", 2, 5000)});
  EXPECT_THAT(said, testing::HasSubstr("committed " + digest_of(content(1, 5000)).str()));
  open();
  EXPECT_TRUE(held(content(1, 5000)));
  EXPECT_TRUE(held(content(2, 5000))) << "not acknowledged, but durable";
  EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
}

class EvictCrashTest : public CrashTest, public testing::WithParamInterface<const char*> {};

// The third blob needs the room of the first two.
TEST_P(EvictCrashTest, LeavesNoOrphan) {
  crash_at(GetParam(), 3 * kMiB,
           {command("put", 1, kMiB), command("put", 2, kMiB), command("put", 3, kMiB),
            command("put", 4, 2 * kMiB)});
  open(3 * kMiB);
  expect_consistent();
  EXPECT_FALSE(store->contains(digest_of(content(1, kMiB))));
  EXPECT_FALSE(store->contains(digest_of(content(2, kMiB))));
  EXPECT_TRUE(held(content(3, kMiB)));
  EXPECT_FALSE(store->contains(digest_of(content(4, 2 * kMiB))));
  EXPECT_EQ(store->stats().blob_bytes, kMiB);

  // What was evicted can come back, and its tombstone does not take it away again.
  put(*store, digest_of(content(1, kMiB)), content(1, kMiB));
  open(3 * kMiB);
  EXPECT_TRUE(held(content(1, kMiB)));
  expect_consistent();
}

INSTANTIATE_TEST_SUITE_P(Steps, EvictCrashTest,
                         testing::Values("evict.unindexed", "evict.unlinked:1", "evict.unlinked:2"),
                         [](const auto& step) {
                           std::string name = std::string(step.param).substr(6);
                           std::ranges::replace(name, ':', '_');
                           return name;
                         });

TEST_F(CrashTest, AFillIsResumedFromItsLastSavedMap) {
  constexpr uint64_t kSize = 40 * kMiB;
  const std::string bytes = content(1, kSize);
  crash_at("fill.map_saved:2", 100 * kMiB, {command("fill", 1, kSize) + ":40"});
  open();
  expect_consistent();
  EXPECT_EQ(store->open(digest_of(bytes)), nullptr);
  EXPECT_EQ(store->partial_size(digest_of(bytes)), kSize);
  auto writer = *store->write(digest_of(bytes), kSize);
  for (uint64_t block = 0; block < 40; ++block) EXPECT_EQ(writer->has(block), block < 32) << block;
  write_blocks(*writer, bytes, 32, 40);
  EXPECT_TRUE(test::read_all(*writer->commit()) == bytes);
  writer.reset();
  expect_consistent();
}

TEST_F(CrashTest, AFillWithoutASavedMapIsSwept) {
  const std::string bytes = content(1, 5 * kMiB);
  {
    test::Process child({CACHE_CRASH_CHILD, root().string(), std::to_string(100 * kMiB),
                         command("fill", 1, 5 * kMiB) + ":3"});
    child.wait_for("filled");
    child.signal(SIGKILL);
    EXPECT_EQ(child.wait(), -SIGKILL);
  }
  EXPECT_TRUE(std::filesystem::exists(layout.partial(digest_of(bytes))));
  open();
  EXPECT_EQ(store->partial_size(digest_of(bytes)), std::nullopt);
  EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
  expect_consistent();
}

TEST_F(CrashTest, AnyMomentOfConcurrentCommits) {
  for (uint64_t round = 0; round < 8; ++round) {
    const uint64_t first_seed = 10'000 * (round + 1);
    std::string said;
    {
      test::Process child({CACHE_CRASH_CHILD, root().string(), std::to_string(1000 * kMiB),
                           command("churn", first_seed, 4)});
      for (uint64_t line = 0; line < 5 + 3 * round; ++line) child.wait_for("committed");
      child.signal(SIGKILL);
      EXPECT_EQ(child.wait(), -SIGKILL);
      said = child.output();
    }
    open(1000 * kMiB);
    expect_consistent();
    std::istringstream lines(said);
    size_t acknowledged = 0;
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string word;
      uint64_t seed = 0;
      if (!(words >> word >> seed) || word != "committed") continue;
      EXPECT_TRUE(held(content(seed, 1000 + seed % 7 * 100'000))) << line;
      ++acknowledged;
    }
    EXPECT_GE(acknowledged, 5 + 3 * round);
    store.reset();
  }
}

TEST_F(CrashTest, AnyMomentOfConcurrentEvictions) {
  for (uint64_t round = 0; round < 8; ++round) {
    {
      test::Process child({CACHE_CRASH_CHILD, root().string(), std::to_string(4 * kMiB),
                           command("churn", 10'000 * (round + 1), 4)});
      for (uint64_t line = 0; line < 20 + 3 * round; ++line) child.wait_for("committed");
      child.signal(SIGKILL);
      EXPECT_EQ(child.wait(), -SIGKILL);
    }
    open(4 * kMiB);
    expect_consistent();
    EXPECT_GT(store->stats().blobs, 0U);
    store.reset();
  }
}

}  // namespace
}  // namespace cache

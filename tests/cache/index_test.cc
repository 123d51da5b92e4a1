#include "cache/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lmdb.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "tests/cache/content.h"
#include "tests/support/temp_dir.h"

namespace cache {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

oci::Digest blob(const std::string& name, oci::Algorithm algorithm = oci::Algorithm::sha256) {
  return oci::Digest::of(algorithm, name);
}

class IndexTest : public testing::Test {
 protected:
  void SetUp() override { index_ = Index::create(directory_.path(), {}); }

  // What the next start reads.
  Index::Content reopen() {
    index_.reset();
    auto opened = Index::open(directory_.path());
    EXPECT_TRUE(opened) << opened.error();
    index_ = std::move(opened->index);
    return std::move(opened->content);
  }
  std::string refusal() {
    index_.reset();
    auto opened = Index::open(directory_.path());
    return opened ? "" : opened.error();
  }

  test::TempDir directory_;
  std::unique_ptr<Index> index_;
  const IndexRecord record_{123, 456, 789};
};

TEST_F(IndexTest, KeepsBothAlgorithms) {
  const oci::Digest a = blob("a");
  const oci::Digest b = blob("b", oci::Algorithm::sha512);
  const IndexRecord other{UINT64_MAX >> 1, -1, INT64_MAX};
  index_->apply({.put = {{a, record_}, {b, other}}});
  EXPECT_THAT(reopen().blobs, UnorderedElementsAre(Pair(a, record_), Pair(b, other)));
}

TEST_F(IndexTest, ARemovalLeavesATombstoneUntilItIsForgotten) {
  index_->apply({.put = {{blob("a"), record_}, {blob("b"), record_}}});
  index_->apply({.remove = {blob("a")}});
  Index::Content content = reopen();
  EXPECT_THAT(content.blobs, ElementsAre(Pair(blob("b"), record_)));
  EXPECT_THAT(content.tombstones, ElementsAre(blob("a")));
  index_->apply({.forget = {blob("a")}});
  EXPECT_THAT(reopen().tombstones, IsEmpty());
}

TEST_F(IndexTest, APutClearsTheTombstone) {
  index_->apply({.put = {{blob("a"), record_}}});
  index_->apply({.remove = {blob("a")}});
  index_->apply({.put = {{blob("a"), record_}}});
  const Index::Content content = reopen();
  EXPECT_THAT(content.blobs, ElementsAre(Pair(blob("a"), record_)));
  EXPECT_THAT(content.tombstones, IsEmpty());
}

TEST_F(IndexTest, ForgetsBeforeItRemoves) {
  index_->apply({.put = {{blob("a"), record_}}});
  index_->apply({.forget = {blob("a")}, .remove = {blob("a")}});
  EXPECT_THAT(reopen().tombstones, ElementsAre(blob("a")));
}

TEST_F(IndexTest, AUseGoesForwardAndBringsNothingBack) {
  index_->apply({.put = {{blob("a"), record_}}});
  index_->apply({.use = {{blob("a"), {1000, {}}}, {blob("gone"), {1000, {}}}}});
  index_->apply({.use = {{blob("a"), {500, {}}}}});
  EXPECT_THAT(reopen().blobs, ElementsAre(Pair(blob("a"), IndexRecord{123, 456, 1000})));
}

TEST_F(IndexTest, KeepsContent) {
  const IndexRecord inside{.size = 5000, .stored_at = 1, .last_used = 2, .inside = true};
  const std::string bytes(5000, 'x');
  index_->apply({.put = {{blob("a"), inside}}, .content = {{blob("a"), bytes}}});
  EXPECT_EQ(index_->content(blob("a")), bytes);
  EXPECT_EQ(index_->content(blob("b")), std::nullopt);
  EXPECT_THAT(reopen().blobs, ElementsAre(Pair(blob("a"), inside)));
  EXPECT_EQ(index_->content(blob("a")), bytes);

  index_->apply({.remove = {blob("a")}});
  EXPECT_EQ(index_->content(blob("a")), std::nullopt);
  EXPECT_THAT(reopen().tombstones, IsEmpty()) << "there is no file to remove";
}

TEST_F(IndexTest, RoomThatContentLeavesIsKnownAndUsedAgain) {
  constexpr uint64_t kMiB = 1 << 20;
  const auto fill = [&](const std::string& prefix) {
    Index::Changes changes;
    for (int i = 0; i < 1000; ++i) {
      const oci::Digest digest = blob(prefix + std::to_string(i));
      changes.put.push_back({digest, {.size = 4000, .inside = true}});
      changes.content.emplace_back(digest, std::string(4000, 'x'));
    }
    index_->apply(changes);
  };
  fill("a");
  EXPECT_LT(index_->pages().free, kMiB);
  EXPECT_GE(index_->pages().content, 1000U * 4096);
  EXPECT_LE(index_->pages().content, 1000 * Index::on_disk(4000));
  const uint64_t all = index_->pages().content + index_->pages().free;
  Index::Changes remove;
  for (int i = 0; i < 1000; ++i) remove.remove.push_back(blob("a" + std::to_string(i)));
  index_->apply(remove);
  EXPECT_GT(index_->pages().free, 2'500'000 + kMiB);
  EXPECT_EQ(index_->pages().content, 0U);
  EXPECT_GE(index_->pages().free, all);
  reopen();
  EXPECT_GE(index_->pages().free, all) << "a start knows it, too";
  index_->apply({.put = {{blob("x"), record_}}});  // free pages are used a transaction later
  const auto size = std::filesystem::file_size(directory_.path() / "data.mdb");
  fill("b");
  EXPECT_LT(index_->pages().free, kMiB);
  EXPECT_LE(std::filesystem::file_size(directory_.path() / "data.mdb"), size + (100U << 10));
}

TEST_F(IndexTest, ContentIsReadWhileTheMapGrows) {
  const std::string bytes(8000, 'x');
  index_->apply(
      {.put = {{blob("a"), {.size = 8000, .inside = true}}}, .content = {{blob("a"), bytes}}});
  std::atomic<bool> done = false;
  std::jthread reader([&] {
    while (!done) EXPECT_EQ(index_->content(blob("a")), bytes);
  });
  for (int round = 0; round < 10; ++round) {  // 40 MB, so the map doubles twice
    Index::Changes changes;
    for (int i = 0; i < 500; ++i) {
      changes.content.emplace_back(blob(std::to_string(round * 500 + i)), bytes);
    }
    index_->apply(changes);
  }
  done = true;
}

TEST_F(IndexTest, IsIncompleteUntilItIsSaidToBeComplete) {
  EXPECT_TRUE(reopen().complete);
  index_.reset();
  index_ = Index::create(directory_.path(), {.complete = false});
  index_->apply({.put = {{blob("a"), record_}}});
  EXPECT_FALSE(reopen().complete);
  index_->apply({.complete = true});
  EXPECT_TRUE(reopen().complete);
}

TEST_F(IndexTest, AFailedCommitStoresNothing) {
  for (const int error : {ENOSPC, EIO, EROFS}) {
    const base::InjectedFault fault("index.commit", error);
    try {
      index_->apply({.put = {{blob("a"), record_}}});
      FAIL() << "stored";
    } catch (const base::IoError& thrown) {
      EXPECT_EQ(thrown.number(), error);
    }
  }
  EXPECT_THAT(reopen().blobs, IsEmpty());
  index_->apply({.put = {{blob("a"), record_}}});
  EXPECT_EQ(reopen().blobs.size(), 1U);
}

TEST_F(IndexTest, IsOpenedAgainWhenLmdbGivesUp) {
  index_->apply({.put = {{blob("a"), record_}}});
  {
    int arrivals = 0;
    const base::InjectedFault fault(
        "index.commit", [&](std::string_view) { return arrivals++ == 0 ? MDB_PANIC : 0; });
    index_->apply({.put = {{blob("b"), record_}}});
    EXPECT_EQ(arrivals, 2);
  }
  EXPECT_EQ(reopen().blobs.size(), 2U);
}

TEST_F(IndexTest, KeepsPlacesAndAccounts) {
  const IndexRecord first{123, 456, 789, {Queue::main, 3, true, 1000}, "mirror"};
  const IndexRecord second{123, 456, 789, {Queue::probation, 1, false, INT64_MAX}, ""};
  index_->apply({.put = {{blob("a"), first}, {blob("b"), second}}});
  EXPECT_THAT(reopen().blobs,
              UnorderedElementsAre(Pair(blob("a"), first), Pair(blob("b"), second)));
}

TEST_F(IndexTest, AUseMovesThePlaceAndLeavesThePin) {
  const Place moved{.queue = Queue::main, .uses = 2, .since = 5};
  index_->apply({.put = {{blob("a"), record_}}});
  index_->apply({.pin = {{blob("a"), true}, {blob("gone"), true}}});
  index_->apply({.use = {{blob("a"), {1000, moved}}}});
  IndexRecord expected{123, 456, 1000, moved};
  expected.place.pinned = true;
  EXPECT_THAT(reopen().blobs, ElementsAre(Pair(blob("a"), expected)));
  index_->apply({.pin = {{blob("a"), false}}});
  expected.place.pinned = false;
  EXPECT_THAT(reopen().blobs, ElementsAre(Pair(blob("a"), expected)));
}

TEST_F(IndexTest, SaysThatTheFormatIsAnother) {
  index_.reset();
  test::set_index_format(directory_.path() / "data.mdb", 1);
  EXPECT_THAT(refusal(), testing::HasSubstr("its format is 1, that of this program 3"));
}

TEST_F(IndexTest, GrowsPastItsFirstMap) {
  constexpr int kRecords = 200'000;  // over 20 MB
  Index::Changes changes;
  for (int i = 0; i < kRecords; ++i) changes.put.emplace_back(blob(std::to_string(i)), record_);
  index_->apply(changes);
  const Index::Content content = reopen();
  EXPECT_EQ(content.blobs.size(), static_cast<size_t>(kRecords));
  EXPECT_GT(std::filesystem::file_size(directory_.path() / "data.mdb"), 16U << 20);
  index_->apply({.remove = {blob("7")}});
  EXPECT_EQ(reopen().blobs.size(), static_cast<size_t>(kRecords - 1));
}

TEST_F(IndexTest, ManyThreadsShareTransactions) {
  constexpr int kThreads = 8;
  constexpr int kEach = 25;
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const oci::Digest digest = blob(std::to_string(t) + "-" + std::to_string(i));
        index_->apply({.put = {{digest, record_}}});
        if (i % 5 == 0) index_->apply({.remove = {digest}});
      }
    });
  }
  threads.clear();
  const Index::Content content = reopen();
  EXPECT_EQ(content.blobs.size(), static_cast<size_t>(kThreads * kEach * 4 / 5));
  EXPECT_EQ(content.tombstones.size(), static_cast<size_t>(kThreads * kEach / 5));
}

TEST_F(IndexTest, CreateReplacesWhatWasThere) {
  index_->apply({.put = {{blob("a"), record_}}});
  index_.reset();
  index_ = Index::create(directory_.path(), {.blobs = {{blob("b"), record_}}});
  EXPECT_THAT(reopen().blobs, ElementsAre(Pair(blob("b"), record_)));
}

TEST_F(IndexTest, RefusesWhatItCannotTrust) {
  index_->apply({.put = {{blob("a"), record_}}});
  index_.reset();
  const std::filesystem::path data = directory_.path() / "data.mdb";
  const std::filesystem::path good = directory_.path() / "good";
  std::filesystem::copy(data, good);
  EXPECT_EQ(refusal(), "");

  std::filesystem::resize_file(data, 2 * 4096);  // only the two meta pages are left
  EXPECT_NE(refusal(), "");
  std::filesystem::resize_file(data, 0);  // a crash before anything was written
  EXPECT_NE(refusal(), "");
  std::filesystem::remove(data);
  EXPECT_NE(refusal(), "");
  std::ofstream(data) << std::string(100'000, 'x');
  EXPECT_NE(refusal(), "");

  std::filesystem::copy(good, data, std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(refusal(), "");
}

TEST_F(IndexTest, ADirectoryThatCannotBeWrittenIsAnErrorAndNotAnOldIndex) {
  index_.reset();
  EXPECT_THROW(Index::create(directory_.path() / "missing", {}), base::IoError);
}

}  // namespace
}  // namespace cache

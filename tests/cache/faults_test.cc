// A disk that fails: what is told to whom, and that nothing wrong is held and no space is lost.
#include <gtest/gtest.h>

#include <tuple>

#include "base/error.h"
#include "base/fault_point.h"
#include "cache/index.h"
#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using base::InjectedFault;
using test::content;
using test::digest_of;
using test::put;

class FaultTest : public test::StoreTest {
 protected:
  void open_store(uint64_t capacity = 100 * kMiB) {
    open(BlobStoreOptions{.root = root(), .capacity = capacity, .clock = &clock});
  }
  // nullopt if it was stored, else the reason, by whichever call gave it.
  std::optional<NoWriter> try_put(const std::string& bytes) {
    auto writer = store->write(digest_of(bytes), bytes.size());
    if (!writer) return writer.error();
    try {
      test::write_blocks(**writer, bytes, 0, (*writer)->blocks());
      (*writer)->commit();
      return std::nullopt;
    } catch (const base::IoError& error) {
      (*writer)->discard();
      if (error.number() == EROFS) return NoWriter::read_only;
      const bool full = error.number() == ENOSPC || error.number() == EDQUOT;
      return full ? NoWriter::no_space : NoWriter::storage_failed;
    }
  }

  base::ManualClock clock;
  const std::string other_ = content(1, 2 * kMiB);
  const std::string bytes_ = content(2, 3 * kMiB + 5);
};

class EveryFaultTest : public FaultTest,
                       public testing::WithParamInterface<std::tuple<const char*, int>> {};
INSTANTIATE_TEST_SUITE_P(Faults, EveryFaultTest,
                         testing::Combine(testing::Values("create", "allocate", "write", "fsync",
                                                          "rename", "index.commit"),
                                          testing::Values(ENOSPC, EDQUOT, EIO, EROFS, EMFILE)),
                         [](const auto& fault) {
                           std::string name = std::string(std::get<0>(fault.param)) + "_" +
                                              ::strerrorname_np(std::get<1>(fault.param));
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

TEST_P(EveryFaultTest, OfAWriteIsToldAndLeavesNothing) {
  const auto [operation, error] = GetParam();
  open_store();
  put(*store, digest_of(other_), other_);
  {
    const InjectedFault fault(operation, error);
    const NoWriter expected = error == EROFS                       ? NoWriter::read_only
                              : error == ENOSPC || error == EDQUOT ? NoWriter::no_space
                                                                   : NoWriter::storage_failed;
    EXPECT_EQ(try_put(bytes_), expected);
    EXPECT_FALSE(store->contains(digest_of(bytes_)));
    EXPECT_EQ(store->open(digest_of(bytes_)), nullptr);
    EXPECT_EQ(store->stats().reserved_bytes, 0U);
    EXPECT_EQ(store->stats().unlinked_bytes, 0U);
    EXPECT_EQ(store->stats().read_only, error == EROFS);
  }
  EXPECT_TRUE(std::filesystem::is_empty(layout.incoming()));
  if (store->contains(digest_of(other_))) {  // it may have made room on the full disk
    EXPECT_TRUE(held(other_));
  }
  clock.advance(kReadOnlyPause);
  EXPECT_EQ(try_put(bytes_), std::nullopt);
  expect_consistent();
  open_store();
  EXPECT_TRUE(held(bytes_));
  expect_consistent();
}

TEST_F(FaultTest, AReadOnlyDiskServesOnAndIsTriedNowAndThen) {
  open_store();
  put(*store, digest_of(other_), other_);
  int arrivals = 0;
  std::optional<InjectedFault> fault(std::in_place, "create", [&](std::string_view) {
    ++arrivals;
    return EROFS;
  });
  EXPECT_EQ(try_put(bytes_), NoWriter::read_only);
  EXPECT_TRUE(store->stats().read_only);
  const int first = arrivals;
  for (int i = 0; i < 10; ++i) EXPECT_EQ(try_put(bytes_), NoWriter::read_only);
  EXPECT_EQ(arrivals, first) << "the disk is left alone";
  EXPECT_TRUE(held(other_));

  clock.advance(kReadOnlyPause);
  EXPECT_FALSE(store->stats().read_only);
  EXPECT_EQ(try_put(bytes_), NoWriter::read_only);
  EXPECT_GT(arrivals, first) << "it was tried";
  EXPECT_TRUE(store->stats().read_only);

  fault.reset();
  EXPECT_EQ(try_put(bytes_), NoWriter::read_only);
  clock.advance(kReadOnlyPause);
  EXPECT_EQ(try_put(bytes_), std::nullopt);
  expect_consistent();
}

TEST_F(FaultTest, AMapThatCannotBeSavedCostsNoFill) {
  open_store();
  const std::string bytes = content(3, 20 * kMiB);
  auto writer = *store->write(digest_of(bytes), bytes.size());
  {
    const InjectedFault fault("create", ENOSPC, ".map.new");
    EXPECT_NO_THROW(test::write_blocks(*writer, bytes, 0, 20));
  }
  EXPECT_EQ(test::read_all(*writer->commit()), bytes);
  writer.reset();
  expect_consistent();
}

TEST_F(FaultTest, AnEvictionThatCannotBeIndexedOnAFullDiskIsIndexedLater) {
  for (const bool restart : {false, true}) {
    open_store(5 * kMiB);
    put(*store, digest_of(other_), other_);
    {
      const InjectedFault fault("index.commit", ENOSPC);
      auto writer = store->write(digest_of(bytes_), bytes_.size());
      EXPECT_TRUE(writer) << "there is room once the other's file is gone";
      EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(other_))));
      EXPECT_FALSE(store->contains(digest_of(other_)));
    }
    if (restart) {
      // As after a crash: the index still has the name, until somebody asks.
      store.reset();
      Index::create(layout.index(), {.blobs = {{digest_of(other_), {other_.size(), 0, 0}}}});
      open_store(5 * kMiB);
      EXPECT_TRUE(store->contains(digest_of(other_)));
      EXPECT_EQ(store->open(digest_of(other_)), nullptr);
    } else {
      store->keep_limits();
      open_store(5 * kMiB);
    }
    EXPECT_FALSE(store->contains(digest_of(other_)));
    expect_consistent();
  }
}

TEST_F(FaultTest, WhatWasEvictedAndNotIndexedCanBeStoredAgain) {
  open_store(5 * kMiB);
  put(*store, digest_of(other_), other_);
  {
    const InjectedFault fault("index.commit", ENOSPC);
    store->remove(digest_of(other_));
  }
  put(*store, digest_of(other_), other_);
  store->keep_limits();
  open_store(5 * kMiB);
  EXPECT_TRUE(held(other_));
  expect_consistent();
}

// ---- reading

TEST_F(FaultTest, WithoutDescriptorsTheHotBlobsMakeRoom) {
  open_store();
  put(*store, digest_of(other_), other_);
  put(*store, digest_of(bytes_), bytes_);
  open_store();
  EXPECT_TRUE(held(other_));
  int arrivals = 0;
  const InjectedFault fault("open", [&](std::string_view) { return arrivals++ == 0 ? EMFILE : 0; });
  EXPECT_TRUE(held(bytes_));
  EXPECT_EQ(arrivals, 2);
  EXPECT_EQ(store->hot(digest_of(other_)), nullptr) << "closed";
  EXPECT_TRUE(store->contains(digest_of(other_)));
}

TEST_F(FaultTest, WithoutDescriptorsAtAllItIsAnError) {
  open_store();
  put(*store, digest_of(other_), other_);
  open_store();
  {
    const InjectedFault fault("open", EMFILE);
    EXPECT_THROW(store->open(digest_of(other_)), base::IoError);
  }
  EXPECT_TRUE(held(other_)) << "and no reason to drop the blob";
}

class FileErrorTest : public FaultTest, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Errors, FileErrorTest,
                         testing::Values(EIO, EBADMSG, EUCLEAN, ENODATA, ESTALE),
                         [](const auto& error) { return ::strerrorname_np(error.param); });

TEST_P(FileErrorTest, ACopyThatCannotBeOpenedIsDropped) {
  open_store();
  put(*store, digest_of(other_), other_);
  open_store();
  {
    const InjectedFault fault("open", GetParam(), digest_of(other_).hex());
    EXPECT_EQ(store->open(digest_of(other_)), nullptr);
  }
  EXPECT_FALSE(store->contains(digest_of(other_)));
  EXPECT_FALSE(std::filesystem::exists(layout.blob(digest_of(other_))));
  EXPECT_NE(put(*store, digest_of(other_), other_), nullptr);
  expect_consistent();
}

TEST_F(FaultTest, ACopyThatCannotBeReadIsDropped) {
  open_store();
  auto blob = put(*store, digest_of(other_), other_);
  store->report_bad(digest_of(other_), *blob);
  EXPECT_FALSE(store->contains(digest_of(other_)));
  const auto again = put(*store, digest_of(other_), other_);
  store->report_bad(digest_of(other_), *blob);  // a second reader of the old copy
  EXPECT_EQ(store->open(digest_of(other_)), again);
  blob.reset();
  expect_consistent();
}

TEST_F(FaultTest, ABadCopyIsNotHeldEvenIfItCannotBeRemoved) {
  for (const char* operation : {"unlink", "index.commit"}) {
    open_store();
    auto blob = put(*store, digest_of(other_), other_);
    {
      const InjectedFault fault(operation, EIO);
      store->report_bad(digest_of(other_), *blob);
      blob.reset();
      EXPECT_EQ(store->open(digest_of(other_)), nullptr);
      EXPECT_EQ(store->stats().unlinked_bytes, 2 * kMiB) << "its file is still there";
    }
    EXPECT_NE(put(*store, digest_of(other_), other_), nullptr);
    EXPECT_TRUE(held(other_));
    store->remove(digest_of(other_));
  }
}

}  // namespace
}  // namespace cache

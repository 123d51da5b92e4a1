// Many threads on one store; most telling under TSan.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <string>
#include <thread>
#include <vector>

#include "tests/cache/store_fixture.h"

namespace cache {
namespace {

using test::content;
using test::digest_of;
using test::put;
using ConcurrencyTest = test::StoreTest;

constexpr uint64_t kBlob = 100'000;

TEST_F(ConcurrencyTest, ReadersWritersEvictionAndPurge) {
  constexpr int kThreads = 8;
  constexpr uint64_t kBlobs = 24;
  open(10 * partial_on_disk(kBlob), 4);
  std::vector<std::string> bytes;
  for (uint64_t i = 0; i < kBlobs; ++i) bytes.push_back(content(i, kBlob));
  std::vector<std::mutex> one_writer(kBlobs);
  std::atomic<int> wrong = 0;
  std::atomic<int> over = 0;
  std::barrier start(kThreads);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      for (uint64_t step = 0; step < 60; ++step) {
        const uint64_t i = (t * 7 + step * 5) % kBlobs;
        const oci::Digest digest = digest_of(bytes[i]);
        std::shared_ptr<const Blob> blob = store->hot(digest);
        if (!blob) blob = store->open(digest);
        if (!blob) {
          const std::lock_guard lock(one_writer[i]);
          blob = store->open(digest);
          if (!blob) blob = put(*store, digest, bytes[i]);
        }
        if (blob && test::read_all(*blob) != bytes[i]) ++wrong;
        const StoreStats stats = store->stats();
        if (stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes > stats.capacity) ++over;
        if (step % 20 == t) {
          const std::lock_guard lock(one_writer[i]);
          store->remove(digest);
          if (blob && test::read_all(*blob) != bytes[i]) ++wrong;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(over, 0);
  EXPECT_GT(store->stats().evicted, 0U);
  expect_consistent();
  open(10 * partial_on_disk(kBlob), 4);
  expect_consistent();
}

TEST_F(ConcurrencyTest, AFloodOfWritersNeverExceedsTheCapacity) {
  constexpr int kThreads = 8;
  open(5 * partial_on_disk(kBlob) - kMap);
  std::atomic<int> over = 0;
  std::atomic<int> refused = 0;
  std::atomic<int> accepted = 0;
  std::barrier phase(kThreads);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t round = 0; round < 10; ++round) {
        phase.arrive_and_wait();
        const std::string bytes = content(1000 * t + round, kBlob);
        auto writer = store->write(digest_of(bytes), bytes.size());
        const StoreStats stats = store->stats();
        if (stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes > stats.capacity) ++over;
        phase.arrive_and_wait();  // all who got a writer hold it now
        if (writer) {
          ++accepted;
          test::write_blocks(**writer, bytes, 0, 1);
          (*writer)->commit();
        } else {
          ++refused;
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(over, 0);
  EXPECT_EQ(accepted, 50) << "five fit at a time";
  EXPECT_EQ(refused, 30);
  expect_consistent();
}

TEST_F(ConcurrencyTest, QuotasAndPinsHoldBesideReadersAndWriters) {
  constexpr int kThreads = 6;
  const uint64_t one = Space::on_disk(kBlob);
  const std::array<std::string, 2> accounts = {"a", "b"};
  store = std::make_unique<BlobStore>(BlobStoreOptions{
      .root = root(), .capacity = 12 * one, .quotas = {{"a", 4 * one}, {"b", 6 * one}}});
  const std::string pinned = content(1, kBlob);
  put(*store, digest_of(pinned), pinned);
  ASSERT_TRUE(store->pin(digest_of(pinned), true));
  std::atomic<int> wrong = 0;
  std::barrier start(kThreads);
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      for (uint64_t step = 0; step < 40; ++step) {
        const std::string bytes = content(100 * (t + 1) + step, kBlob);
        auto writer = store->write(digest_of(bytes), bytes.size(), accounts[t % 2]);
        if (writer) {
          test::write_blocks(**writer, bytes, 0, 1);
          (*writer)->commit();
          store->pin(digest_of(bytes), step % 3 == 0);
          store->pin(digest_of(bytes), false);
        }
        const StoreStats stats = store->stats();
        if (stats.accounts.at("a").bytes > 4 * one) ++wrong;
        if (stats.accounts.at("b").bytes > 6 * one) ++wrong;
        if (stats.blob_bytes + stats.reserved_bytes + stats.unlinked_bytes > stats.capacity)
          ++wrong;
        if (store->open(digest_of(pinned)) == nullptr) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(store->stats().evicted, 100U);
  expect_consistent();
}

TEST_F(ConcurrencyTest, ManyOpenOneBlobAtOnce) {
  constexpr int kThreads = 8;
  open(kMiB, 1);
  const std::string a = content(1, kBlob);
  const std::string b = content(2, kBlob);
  put(*store, digest_of(a), a);
  put(*store, digest_of(b), b);
  std::barrier phase(kThreads);
  std::vector<std::shared_ptr<const Blob>> blobs(kThreads);
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 50; ++round) {
        blobs[t].reset();
        phase.arrive_and_wait();
        if (t == 0) store->open(digest_of(b));  // puts a out of the hot table
        phase.arrive_and_wait();
        blobs[t] = store->open(digest_of(a));
        phase.arrive_and_wait();
        if (blobs[t] == nullptr || blobs[t] != blobs[0]) ADD_FAILURE() << "opened twice";
        phase.arrive_and_wait();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(test::read_all(*blobs[0]), a);
}

}  // namespace
}  // namespace cache

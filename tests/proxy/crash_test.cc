// kill -9 of the real program at each named step of a fill, of a commit and of an eviction: after
// the restart nothing unverified is served, what was stored is a hit, and the accounting is right.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>

#include "cache/blob_store.h"
#include "oci/digest.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/process.h"

namespace proxy {
namespace {

class CrashTest : public ::testing::TestWithParam<const char*> {
 protected:
  CrashTest() {
    std::ofstream config(directory.path() / "edge.yml");
    config << "name: entrepot-edge\nlisten: [{addr: \"127.0.0.1:0\"}]\n"
           << "cache: {directory: " << (directory.path() / "cache").string() << ", size: 40MiB}\n"
           << "upstreams: [{urls: [\"" << upstream.url() << "\"]}]\n"
           << "log: {accesslog: {disabled: true}}\n";
  }

  std::unique_ptr<test::Process> start(const std::string& crash_at = "") {
    const std::map<std::string, std::string> environment = {{"ENTREPOT_CRASH_AT", crash_at}};
    auto edge = std::make_unique<test::Process>(
        std::vector<std::string>{ENTREPOT_EDGE, "serve", (directory.path() / "edge.yml").string()},
        environment);
    port = edge->listening_port();
    return edge;
  }

  static void stop(test::Process& edge) {
    edge.signal(SIGTERM);
    EXPECT_EQ(edge.wait(), 0) << edge.output();
  }

  // What the store says it holds is what lies in its directory, and nothing else lies there.
  void expect_exact_accounting() {
    const std::filesystem::path root = directory.path() / "cache";
    cache::BlobStore store({.root = root, .capacity = 40 * kMiB});
    uint64_t files = 0;
    uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / "blobs")) {
      if (!entry.is_regular_file()) continue;
      ++files;
      bytes += (entry.file_size() + 4095) / 4096 * 4096;
    }
    EXPECT_EQ(store.stats().blobs, files);
    EXPECT_EQ(store.stats().blob_bytes, bytes);
    EXPECT_EQ(store.stats().reserved_bytes, 0U);
    EXPECT_TRUE(std::filesystem::is_empty(root / "incoming"));
  }

  test::TempDir directory;
  test::FakeUpstream upstream;
  uint16_t port = 0;
};

// Steps of a fill and its commit, with the arrival at which the process dies.
INSTANTIATE_TEST_SUITE_P(Steps, CrashTest,
                         ::testing::Values("fill.started", "fill.block_written",
                                           "fill.block_written:3", "fill.map_saved",
                                           "fill.verified", "commit.synced", "commit.renamed",
                                           "commit.indexed", "commit.map_removed"));

TEST_P(CrashTest, OfAFill) {
  const TestBlob blob(random_bytes(20 * kMiB + 7));
  upstream.serve_blob(blob.path, blob.bytes);
  // Several reads, so that there are several steps to die at.
  upstream.script(blob.path, {test::step::send_upto(kMiB), test::step::send_upto(17 * kMiB),
                              test::step::send_upto(19 * kMiB)});
  std::unique_ptr<test::Process> edge = start(GetParam());
  const test::Fetched cut = test::fetch(port, blob.path);
  EXPECT_TRUE(!cut.complete || cut.body == blob.bytes);
  ASSERT_EQ(edge->wait(), -SIGKILL) << "the step was never reached\n" << edge->output();

  edge = start();
  const test::Fetched after = test::fetch(port, blob.path);
  EXPECT_TRUE(after.complete);
  EXPECT_TRUE(after.body == blob.bytes);
  // The drain at the end waits for the commit, so this process leaves a stored blob behind.
  while (test::fetch(port, blob.path).header("Cache-Status") != "entrepot-edge; hit") {
  }
  stop(*edge);
  expect_exact_accounting();

  // With no upstream left, what is held is served.
  upstream.stop();
  edge = start();
  EXPECT_TRUE(test::fetch(port, blob.path).body == blob.bytes);
  stop(*edge);
}

// What the kernel has is as it was written: the client that comes next need not wait for it to be
// verified.
using RestartTest = CrashTest;
INSTANTIATE_TEST_SUITE_P(Steps, RestartTest, ::testing::Values("fill.map_saved"));

TEST_P(RestartTest, WhatWasThereIsServedAtOnce) {
  const TestBlob blob(random_bytes(20 * kMiB + 7));
  upstream.serve_blob(blob.path, blob.bytes);
  std::unique_ptr<test::Process> edge = start(GetParam());
  EXPECT_FALSE(test::fetch(port, blob.path).complete);
  ASSERT_EQ(edge->wait(), -SIGKILL) << edge->output();

  upstream.script(blob.path, {test::step::stall("rest")});
  edge = start();
  test::FetchOptions options;
  options.on_progress = [&](uint64_t received) {
    if (received >= 16 * kMiB) upstream.release("rest");
    return true;
  };
  const test::Fetched after = test::fetch(port, blob.path, options);
  EXPECT_TRUE(after.complete && after.body == blob.bytes);
  stop(*edge);
}

using EvictionCrashTest = CrashTest;
INSTANTIATE_TEST_SUITE_P(Steps, EvictionCrashTest,
                         ::testing::Values("evict.unindexed", "evict.unlinked"));

TEST_P(EvictionCrashTest, OfAnEviction) {
  const TestBlob first(random_bytes(30 * kMiB, 1));
  const TestBlob second(random_bytes(30 * kMiB, 2));
  upstream.serve_blob(first.path, first.bytes);
  upstream.serve_blob(second.path, second.bytes);
  std::unique_ptr<test::Process> edge = start(GetParam());
  EXPECT_TRUE(test::fetch(port, first.path).body == first.bytes);
  while (test::fetch(port, first.path).header("Cache-Status") != "entrepot-edge; hit") {
  }
  test::fetch(port, second.path);  // takes the first one's place
  ASSERT_EQ(edge->wait(), -SIGKILL) << "the step was never reached\n" << edge->output();

  edge = start();
  EXPECT_TRUE(test::fetch(port, second.path).body == second.bytes);
  while (test::fetch(port, second.path).header("Cache-Status") != "entrepot-edge; hit") {
  }
  stop(*edge);
  expect_exact_accounting();
}

}  // namespace
}  // namespace proxy

// Two replicas, each a process of its own that believes for ever what it once did not find
// (tests/support/stale_names.cc, which stands for NFS): what one has acknowledged, the other
// serves at once.
#include <gtest/gtest.h>

#include <barrier>
#include <map>
#include <memory>
#include <thread>

#include "tests/origin/client.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

class SharedStorageTest : public ::testing::Test {
 protected:
  SharedStorageTest() : a_(start()), b_(start()) {}

  uint16_t start() {
    const std::string root = (dir_.path() / "data").string();
    const auto config = dir_.write("config.yml",
                                   "version: 0.1\n"
                                   "storage:\n"
                                   "  filesystem: {rootdirectory: " +
                                       root +
                                       "}\n"
                                       "  delete: {enabled: true}\n"
                                       "http: {addr: '127.0.0.1:0', draintimeout: 5s}\n"
                                       "server: {loops: 1, threads: 4}\n");
    processes_.push_back(std::make_unique<test::Process>(
        std::vector<std::string>{ORIGIN_PROGRAM, "serve", config.string()},
        std::map<std::string, std::string>{{"LD_PRELOAD", STALE_NAMES_LIBRARY},
                                           {"STALE_NAMES_ROOT", root}}));
    return processes_.back()->listening_port();
  }
  static std::string blob(const std::string& bytes) { return "/v2/a/blobs/" + sha256(bytes).str(); }
  static std::string manifest(const std::string& reference) {
    return "/v2/a/manifests/" + reference;
  }
  static int status(uint16_t port, const std::string& method, const std::string& target) {
    return call(port, method, target).status;
  }

  test::TempDir dir_;
  std::vector<std::unique_ptr<test::Process>> processes_;
  const uint16_t a_;
  const uint16_t b_;
};

// The stand-in, seen through a program that does not look anew: a shell whose test of a file's
// presence asks for its name alone.
TEST_F(SharedStorageTest, TheStandInBelievesThatAMissingNameStaysMissing) {
  const std::string file = (dir_.path() / "data/file").string();
  test::Process shell(
      {"sh", "-c",
       "[ -e " + file + " ] && exit 1; LD_PRELOAD= touch " + file + "; [ -e " + file +
           " ] && exit 2; LD_PRELOAD= ls " + file},
      {{"LD_PRELOAD", STALE_NAMES_LIBRARY}, {"STALE_NAMES_ROOT", (dir_.path() / "data").string()}});
  EXPECT_EQ(shell.wait(), 0) << shell.output();
}

TEST_F(SharedStorageTest, WhatWasMissingIsThereOnceTheOtherReplicaHasIt) {
  const oci::Digest config = push_blob(a_, "a", "{}");
  const std::string bytes = image(config, {sha256("layer")});
  const std::string digest = sha256(bytes).str();
  for (const char* method : {"GET", "HEAD"}) {
    EXPECT_EQ(status(b_, method, blob("layer")), 404);
    EXPECT_EQ(status(b_, method, manifest(digest)), 404);
    EXPECT_EQ(status(b_, method, manifest("tag")), 404);
  }
  push_blob(a_, "a", "layer");
  EXPECT_EQ(status(b_, "HEAD", blob("layer")), 200);
  EXPECT_EQ(call(b_, "GET", blob("layer")).body, "layer");
  EXPECT_EQ(push_manifest(a_, "a", digest, bytes).status, 201);
  EXPECT_EQ(call(b_, "GET", manifest(digest)).body, bytes);
  EXPECT_EQ(status(b_, "HEAD", manifest("tag")), 404);
  EXPECT_EQ(push_manifest(a_, "a", "tag", bytes).status, 201);
  EXPECT_EQ(status(b_, "HEAD", manifest("tag")), 200);
  EXPECT_EQ(call(b_, "GET", manifest("tag")).body, bytes);
}

TEST_F(SharedStorageTest, ARepositoryThatWasMissingIsThere) {
  EXPECT_EQ(status(b_, "GET", "/v2/a/tags/list"), 404);
  EXPECT_EQ(status(b_, "GET", manifest("tag")), 404);
  EXPECT_EQ(status(b_, "GET", blob("layer")), 404);
  EXPECT_EQ(strings(call(b_, "GET", "/v2/_catalog"), "repositories").size(), 0U);
  const std::string bytes = push_image(a_, "a", "tag", "layer");
  EXPECT_EQ(call(b_, "GET", manifest("tag")).body, bytes);
  EXPECT_EQ(call(b_, "GET", blob("layer")).body, "layer");
  EXPECT_EQ(strings(call(b_, "GET", "/v2/a/tags/list"), "tags"), std::vector<std::string>{"tag"});
  EXPECT_EQ(strings(call(b_, "GET", "/v2/_catalog"), "repositories"),
            std::vector<std::string>{"a"});
}

TEST_F(SharedStorageTest, ATagThatMovesOrGoesDoesSoForBoth) {
  push_image(a_, "a", "tag", "one");
  EXPECT_EQ(status(b_, "GET", manifest("tag")), 200);
  const std::string two = push_image(a_, "a", "tag", "two");
  EXPECT_EQ(call(b_, "GET", manifest("tag")).body, two);
  EXPECT_EQ(status(b_, "DELETE", manifest("tag")), 202);
  EXPECT_EQ(status(a_, "GET", manifest("tag")), 404);
  EXPECT_EQ(status(b_, "GET", manifest("tag")), 404);
  EXPECT_EQ(push_manifest(a_, "a", "tag", two).status, 201);
  EXPECT_EQ(call(b_, "GET", manifest("tag")).body, two);
}

TEST_F(SharedStorageTest, AnUploadGoesOnWhereItWasNotKnown) {
  // Neither the repository's uploads nor any of them has been there.
  EXPECT_EQ(status(b_, "GET", "/v2/a/blobs/uploads/4b5bb6f5-cd4d-4d5c-a3a0-000000000000"), 404);
  std::string url = location(call(a_, "POST", "/v2/a/blobs/uploads/"));
  for (const uint16_t port : {b_, a_, b_}) {
    const auto patch = call(port, "PATCH", url, "part ");
    EXPECT_EQ(patch.status, 202) << patch.body;
    url = location(patch);
  }
  const std::string bytes = "part part part ";
  EXPECT_EQ(status(b_, "GET", blob(bytes)), 404);
  EXPECT_EQ(status(a_, "PUT", url + "&digest=" + sha256(bytes).str()), 201);
  EXPECT_EQ(call(b_, "GET", blob(bytes)).body, bytes);
  EXPECT_EQ(status(b_, "GET", url), 404);
}

TEST_F(SharedStorageTest, OfTwoPushesAtOnceOneIsThereWhole) {
  constexpr int kRounds = 15;
  const oci::Digest config = push_blob(a_, "a", "{}");
  std::barrier together(2);
  struct Replica {
    std::vector<std::string> pushed;
    std::vector<std::string> seen;
  };
  Replica a;
  Replica b;
  const auto push = [&](uint16_t port, Replica& replica, const char* name) {
    for (int round = 0; round < kRounds; ++round) {
      const std::string layer = "the same " + std::to_string(round);
      together.arrive_and_wait();
      push_blob(port, "a", layer);
      const std::string bytes =
          image(config, {sha256(layer)}, std::string(R"(,"annotations":{"by":")") + name + "\"}");
      EXPECT_EQ(push_manifest(port, "a", "tag", bytes).status, 201);
      replica.pushed.push_back(bytes);
      together.arrive_and_wait();
      replica.seen.push_back(call(port, "GET", manifest("tag")).body);
      EXPECT_EQ(call(port, "GET", blob(layer)).body, layer);
    }
  };
  std::thread other([&] { push(b_, b, "b"); });
  push(a_, a, "a");
  other.join();
  for (size_t round = 0; round < kRounds; ++round) {
    EXPECT_EQ(a.seen[round], b.seen[round]);
    EXPECT_TRUE(a.seen[round] == a.pushed[round] || a.seen[round] == b.pushed[round]);
  }
}

}  // namespace
}  // namespace origin

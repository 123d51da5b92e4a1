// Manifests and lists as bytes: what serving them costs, and what of them cannot be stored or read.
#include <unistd.h>

#include <fstream>
#include <thread>

#include "base/fault_point.h"
#include "tests/proxy/mirror_fixture.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

using base::InjectedFault;

// Of this process, in memory.
uint64_t resident_bytes() {
  uint64_t total = 0;
  uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

class DocumentsTest : public MirrorTest {
 protected:
  // A manifest as large as there may be one, and its path.
  std::pair<std::string, std::string> serve_large(unsigned seed) {
    std::string bytes = random_bytes(kMaxDocument, seed);
    std::string path = "/v2/app/manifests/" + oci::Digest::of(oci::Algorithm::sha256, bytes).str();
    upstream.serve_blob(path, bytes);
    return {std::move(bytes), std::move(path)};
  }
  // Has the head of its answer, and takes little of the body.
  test::RawClient slow_reader(const std::string& path) {
    test::RawClient client(edge->port(), 4096);
    client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(client.receive(12).ends_with("200"));
    return client;
  }
};

TEST_F(DocumentsTest, SlowReadersOfAManifestCostNoCopyOfIt) {
  const auto [bytes, path] = serve_large(1);
  start();
  EXPECT_TRUE(get(path).body == bytes);
  EXPECT_TRUE(get(path).body == bytes);
  const uint64_t before = resident_bytes();
  std::vector<test::RawClient> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(slow_reader(path));
  EXPECT_LT(resident_bytes(), before + 64 * kMiB) << "64 copies are 256 MiB";
  EXPECT_EQ(upstream.requests().size(), 1U);
}

TEST_F(DocumentsTest, WhatCannotBeStoredIsServedAndBounded) {
  constexpr unsigned kMost = kMostUnkept / kMaxDocument;
  start();
  const InjectedFault fault("create", EROFS);
  std::vector<test::RawClient> clients;
  for (unsigned i = 0; i < kMost; ++i) clients.push_back(slow_reader(serve_large(i).second));
  const auto [bytes, path] = serve_large(kMost);
  expect_error(get(path), 503, "UNAVAILABLE");
  clients.clear();
  test::Fetched answer;
  do answer = get(path);
  while (answer.status == 503);
  EXPECT_TRUE(answer.body == bytes);
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(DocumentsTest, ACopyThatCannotBeReadIsServedOnFromTheUpstream) {
  const auto [bytes, path] = serve_large(1);
  start();
  get(path);
  for (const int bad : {1, 9}) {
    std::atomic<int> reads = 0;
    const InjectedFault not_in_memory("serve.resident", EIO);
    const InjectedFault fault("serve.read",
                              [&](std::string_view) { return ++reads == bad ? EIO : 0; });
    const test::Fetched answer = get(path);
    EXPECT_TRUE(answer.complete);
    EXPECT_TRUE(answer.body == bytes) << bad;
  }
  EXPECT_EQ(asked(path), "3 0");
  EXPECT_EQ(get(path).header("Cache-Status"), "edge-1; hit");
}

TEST_F(DocumentsTest, ABadCopyOfAListIsReplacedByTheSameOrNone) {
  EdgeConfig in_files = config();
  in_files.cache.inline_limit = 0;
  http::Headers json;
  json.set("Content-Type", "application/json");
  upstream.serve_blob(kTags, R"({"tags":["a"]})", json);
  start(std::move(in_files));
  get(kTags);
  const InjectedFault not_in_memory("serve.resident", EIO);
  {
    std::atomic<int> reads = 0;
    const InjectedFault once("serve.read",
                             [&](std::string_view) { return ++reads == 1 ? EIO : 0; });
    EXPECT_EQ(get(kTags).body, "{\"name\":\"app\",\"tags\":[\"a\"]}\n");
  }
  {
    const InjectedFault always("serve.read", EIO);
    EXPECT_FALSE(get(kTags).complete) << "a disk that gives nothing back";
  }
  upstream.serve_blob(kTags, R"({"tags":["b"]})", json);
  std::atomic<int> reads = 0;
  const InjectedFault once("serve.read", [&](std::string_view) { return ++reads == 1 ? EIO : 0; });
  EXPECT_FALSE(get(kTags).complete) << "half of one list and half of another";
}

TEST_F(DocumentsTest, RangesOfAListThatIsPutTogether) {
  upstream.serve_blob(kTags, R"({"tags":["a","b"]})");
  start();
  const std::string whole = get(kTags).body;
  for (const auto& [first, last] : std::vector<std::pair<size_t, size_t>>{
           {0, 3}, {3, 20}, {16, 20}, {23, 28}, {0, whole.size() - 1}, {26, whole.size() - 1}}) {
    const std::string range = std::to_string(first) + "-" + std::to_string(last);
    EXPECT_EQ(get(kTags, "bytes=" + range).body, whole.substr(first, last - first + 1)) << range;
  }
}

}  // namespace
}  // namespace proxy

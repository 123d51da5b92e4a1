// An edge in this process, on a cache of its own, in front of scripted upstreams.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "oci/digest.h"
#include "proxy/edge.h"
#include "tests/support/fake_upstream.h"
#include "tests/support/fetch.h"
#include "tests/support/temp_dir.h"

namespace proxy {

constexpr size_t kMiB = 1 << 20;

inline std::string random_bytes(size_t size, unsigned seed = 1) {
  std::mt19937_64 engine(seed);
  std::string bytes(size, '\0');
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t word = engine();
    bytes.replace(at, std::min<size_t>(8, size - at), reinterpret_cast<const char*>(&word),
                  std::min<size_t>(8, size - at));
  }
  return bytes;
}

// A blob and where it is asked for.
struct TestBlob {
  explicit TestBlob(std::string content, const std::string& repository = "app")
      : bytes(std::move(content)),
        digest(oci::Digest::of(oci::Algorithm::sha256, bytes)),
        path("/v2/" + repository + "/blobs/" + digest.str()) {}
  std::string bytes;
  oci::Digest digest;
  std::string path;
};

class EdgeTest : public ::testing::Test {
 protected:
  EdgeTest() = default;
  explicit EdgeTest(test::FakeUpstream::Options options) : upstream(std::move(options)) {}
  ~EdgeTest() override { stop(); }

  EdgeConfig config() {
    EdgeConfig config;
    config.listeners.push_back({"127.0.0.1:0", std::nullopt});
    config.cache = {.root = directory.path() / "cache",
                    .capacity = 1ULL << 30,
                    .inline_limit = cache::kInlineLimit};
    UpstreamConfig& origin = config.upstreams.emplace_back();
    origin.name = "origin";
    origin.urls = {upstream.url()};
    origin.round_delay = std::chrono::nanoseconds(0);
    config.name = "edge-1";
    config.loops = 2;
    config.threads = 4;
    config.access_log = false;
    return config;
  }
  void start() { start(config()); }
  void start(EdgeConfig config) {
    edge = std::make_unique<Edge>(std::move(config));
    edge->start();
  }
  void stop() { edge.reset(); }

  test::Fetched get(const std::string& path, const std::string& range = "") {
    test::FetchOptions options;
    if (!range.empty()) options.headers.set("Range", range);
    return test::fetch(edge->port(), path, options);
  }
  // Until so many blobs are stored: a client has its last byte before the blob is durable.
  void wait_stored(uint64_t blobs) {
    while (edge->stats().blobs < blobs) std::this_thread::yield();
  }
  test::Fetched head(const std::string& path) {
    return test::fetch(edge->port(), path, {.method = "HEAD"});
  }

  // The answer is an OCI error that nobody keeps.
  static void expect_error(const test::Fetched& answer, int status, const std::string& code) {
    EXPECT_EQ(answer.status, status);
    EXPECT_TRUE(answer.complete);
    EXPECT_NE(answer.body.find("\"" + code + "\""), std::string::npos) << answer.body;
    EXPECT_EQ(answer.header("Cache-Control"), "no-store");
    EXPECT_EQ(answer.header("Content-Type"), "application/json");
  }

  base::ManualClock clock;  // for tests that give it to the edge
  test::TempDir directory;
  test::FakeUpstream upstream;
  std::unique_ptr<Edge> edge;
};

}  // namespace proxy

// Quotas of upstreams: the key of the configuration, and what clients see of them.
#include <gmock/gmock.h>

#include <fstream>

#include "tests/proxy/edge_fixture.h"

namespace proxy {
namespace {

using testing::HasSubstr;

class QuotaConfigTest : public ::testing::Test {
 protected:
  // Of the second upstream: further keys.
  std::map<std::string, uint64_t> read(const std::string& keys) {
    std::ofstream(path_) << "listen: [{addr: \":80\"}]\ncache: {directory: /c, size: 1GiB}\n"
                            "upstreams:\n  - {name: one, urls: [https://one.example]}\n"
                            "  - {name: two, prefix: two, urls: [https://two.example]" +
                                keys + "}\n";
    return read_edge_config(path_).cache.quotas;
  }
  std::string error_of(const std::string& keys) {
    try {
      read(keys);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "none";
  }

  test::TempDir directory_;
  const std::filesystem::path path_ = directory_.path() / "edge.yml";
};

TEST_F(QuotaConfigTest, IsOfOneUpstream) {
  EXPECT_THAT(read(", quota: 200MiB"),
              testing::ElementsAre(testing::Pair("two", uint64_t{200} << 20)));
}

TEST_F(QuotaConfigTest, AllOfTheCacheIsNone) {
  EXPECT_TRUE(read("").empty());
  EXPECT_TRUE(read(", quota: 1GiB").empty());
}

TEST_F(QuotaConfigTest, Mistakes) {
  for (const char* wrong : {"0", "2GiB"}) {
    const std::string error = error_of(std::string(", quota: ") + wrong);
    EXPECT_THAT(error, HasSubstr("edge.yml:5:"));
    EXPECT_THAT(error, HasSubstr("quota: expected more than 0 and no more than cache.size"));
  }
}

class QuotaTest : public EdgeTest {
 protected:
  // Of the second upstream no more than three blobs of 1 MiB are kept, beside what their maps take
  // meanwhile.
  QuotaTest() {
    EdgeConfig both = config();
    UpstreamConfig& second = both.upstreams.emplace_back(both.upstreams.front());
    second.name = "mirror";
    second.urls = {mirror.url()};
    second.prefix = "mirror";
    both.cache.quotas = {{"mirror", 3 * kMiB + 16384}};
    start(std::move(both));
  }
  // Returns what the client got, once it is known whether it is kept.
  std::string get_and_wait(const std::string& path) {
    const test::Fetched answer = get(path);
    EXPECT_TRUE(answer.complete);
    while (edge->stats().reserved_bytes > 0) std::this_thread::yield();
    return answer.body;
  }
  static std::string path_at_mirror(const TestBlob& blob) {
    return "/v2/mirror/app/blobs/" + blob.digest.str();
  }
  bool hit(const std::string& path) { return head(path).header("Cache-Status") == "edge-1; hit"; }

  test::FakeUpstream mirror;
};

TEST_F(QuotaTest, AnUpstreamAtItsQuotaGivesUpItsOwn) {
  std::vector<TestBlob> of_origin;
  for (unsigned i = 0; i < 4; ++i) {
    of_origin.emplace_back(random_bytes(kMiB, i));
    upstream.serve_blob(of_origin.back().path, of_origin.back().bytes);
    EXPECT_TRUE(get_and_wait(of_origin.back().path) == of_origin.back().bytes);
  }
  std::vector<TestBlob> of_mirror;
  for (unsigned i = 100; i < 108; ++i) {
    of_mirror.emplace_back(random_bytes(kMiB, i));
    mirror.serve_blob(of_mirror.back().path, of_mirror.back().bytes);
    EXPECT_TRUE(get_and_wait(path_at_mirror(of_mirror.back())) == of_mirror.back().bytes);
    EXPECT_LE(edge->stats().account("mirror").bytes, 3 * kMiB);
  }
  EXPECT_EQ(edge->stats().account("mirror").blobs, 3U);
  for (const TestBlob& blob : of_origin) EXPECT_TRUE(hit(blob.path));
  for (size_t i = 5; i < 8; ++i) EXPECT_TRUE(hit(path_at_mirror(of_mirror[i]))) << i;

  // The other way: what the one has is not given up for the other, as long as there is room.
  of_origin.emplace_back(random_bytes(5 * kMiB, 9));
  upstream.serve_blob(of_origin.back().path, of_origin.back().bytes);
  EXPECT_TRUE(get_and_wait(of_origin.back().path) == of_origin.back().bytes);
  EXPECT_EQ(edge->stats().account("mirror").blobs, 3U);
  EXPECT_EQ(edge->stats().account("origin").blobs, 5U);
}

TEST_F(QuotaTest, WhatIsLargerIsPassedThrough) {
  const TestBlob small(random_bytes(kMiB, 1));
  const TestBlob large(random_bytes(4 * kMiB, 2));
  mirror.serve_blob(small.path, small.bytes);
  mirror.serve_blob(large.path, large.bytes);
  EXPECT_TRUE(get_and_wait(path_at_mirror(small)) == small.bytes);
  for (int i = 0; i < 2; ++i) {
    const test::Fetched answer = get(path_at_mirror(large));
    EXPECT_TRUE(answer.complete);
    EXPECT_TRUE(answer.body == large.bytes);
  }
  EXPECT_FALSE(hit(path_at_mirror(large)));
  EXPECT_TRUE(hit(path_at_mirror(small))) << "for nothing nothing goes";
}

}  // namespace
}  // namespace proxy

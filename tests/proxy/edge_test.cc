// The edge as a client sees it: hits, misses, coalescing, ranges, headers.
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "tests/proxy/edge_fixture.h"

namespace proxy {
namespace {

namespace step = test::step;

TEST_F(EdgeTest, MissIsFilledOnceAndThenAHit) {
  const TestBlob blob(random_bytes(3 * kMiB + 17));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  const test::Fetched miss = get(blob.path);
  EXPECT_EQ(miss.status, 200);
  EXPECT_TRUE(miss.complete);
  EXPECT_EQ(miss.body, blob.bytes);
  EXPECT_EQ(miss.header("Cache-Status"), "edge-1; fwd=uri-miss; stored");

  wait_stored(1);
  const test::Fetched hit = get(blob.path);
  EXPECT_EQ(hit.body, blob.bytes);
  EXPECT_EQ(hit.header("Cache-Status"), "edge-1; hit");
  EXPECT_NE(hit.header("Age"), "");
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
  EXPECT_EQ(edge->stats().blobs, 1U);
}

TEST_F(EdgeTest, HeadersAreWhatClientsNeed) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  for (int round = 0; round < 2; ++round) {
    const test::Fetched answer = get(blob.path);
    EXPECT_EQ(answer.header("Content-Length"), "1000");
    EXPECT_EQ(answer.header("Content-Type"), "application/octet-stream");
    EXPECT_EQ(answer.header("Docker-Content-Digest"), blob.digest.str());
    EXPECT_EQ(answer.header("ETag"), "\"" + blob.digest.str() + "\"");
    EXPECT_EQ(answer.header("Accept-Ranges"), "bytes");
    EXPECT_EQ(answer.header("Cache-Control"), "public, max-age=31536000, immutable");
    EXPECT_EQ(answer.header("Via"), "1.1 edge-1");
  }
}

TEST_F(EdgeTest, ClientsAuthorizationIsNeverForwarded) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  EdgeConfig with_bearer = config();
  with_bearer.upstreams[0].bearer = "edge-secret";
  start(std::move(with_bearer));
  test::FetchOptions options;
  options.headers.set("Authorization", "Basic dXNlcjpwYXNz");
  options.headers.set("Cookie", "session=1");
  EXPECT_EQ(test::fetch(edge->port(), blob.path, options).body, blob.bytes);
  const auto seen = upstream.requests();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].headers.joined("Authorization"), "Bearer edge-secret");
  EXPECT_FALSE(seen[0].headers.has("Cookie"));
  EXPECT_EQ(seen[0].headers.joined("Via"), "1.1 edge-1");
}

TEST_F(EdgeTest, HeadDoesNotDownload) {
  const TestBlob blob(random_bytes(2 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  const test::Fetched cold = head(blob.path);
  EXPECT_EQ(cold.status, 200);
  EXPECT_EQ(cold.header("Content-Length"), std::to_string(2 * kMiB));
  EXPECT_EQ(upstream.bytes_sent(blob.path), 0U);
  ASSERT_EQ(upstream.requests().size(), 1U);
  EXPECT_EQ(upstream.requests()[0].method, "HEAD");
  get(blob.path);
  wait_stored(1);
  const test::Fetched warm = head(blob.path);
  EXPECT_EQ(warm.header("Content-Length"), std::to_string(2 * kMiB));
  EXPECT_EQ(warm.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(upstream.requests().size(), 2U);
}

TEST_F(EdgeTest, ManyClientsOneFill) {
  const TestBlob blob(random_bytes(5 * kMiB + 1));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::stall("half")});
  start();
  constexpr int kClients = 20;
  std::barrier all_started(kClients + 1);
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&] {
      // Everyone has bytes while the upstream stands still in the middle: nobody waits for the end.
      bool first = true;
      test::FetchOptions options;
      options.on_progress = [&](uint64_t have) {
        if (first && have > 0) {
          first = false;
          all_started.arrive_and_wait();
        }
        return true;
      };
      const test::Fetched answer = test::fetch(edge->port(), blob.path, options);
      if (answer.complete && answer.body == blob.bytes) ++right;
    });
  }
  all_started.arrive_and_wait();
  upstream.release("half");
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, kClients);
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(EdgeTest, AnUpstreamThatHangsTurnsNoHitAway) {
  const TestBlob held(random_bytes(1000));
  upstream.serve_blob(held.path, held.bytes);
  EdgeConfig few = config();
  few.limits.max_requests_in_flight = 8;
  start(std::move(few));
  EXPECT_EQ(get(held.path).status, 200);
  wait_stored(1);
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < 6; ++i) {
    const TestBlob blob(random_bytes(1000, 2 + i));
    upstream.serve_blob(blob.path, blob.bytes);
    upstream.script(blob.path, {step::stall("hang")});
    clients.emplace_back([&, blob] {
      test::Fetched answer = get(blob.path);
      while (answer.status == 503)
        answer = get(blob.path);  // the first client may not quite be gone
      EXPECT_TRUE(answer.body == blob.bytes);
    });
  }
  upstream.wait_stalled("hang", 6);
  const test::Fetched refused = get(TestBlob(random_bytes(1000, 9)).path);
  expect_error(refused, 503, "UNAVAILABLE");
  EXPECT_EQ(refused.header("Retry-After"), "1");
  EXPECT_TRUE(get(held.path).body == held.bytes);
  upstream.release("hang");
  for (std::thread& client : clients) client.join();
}

TEST_F(EdgeTest, FillSurvivesItsClients) {
  const TestBlob blob(random_bytes(4 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::stall("half")});
  start();
  test::FetchOptions leave;
  leave.on_progress = [](uint64_t) { return false; };
  EXPECT_FALSE(test::fetch(edge->port(), blob.path, leave).complete);
  upstream.release("half");
  // The next client joins the fill or finds it done; in either case nothing is fetched again.
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(EdgeTest, LastBlockIsHeldBackUntilVerified) {
  const TestBlob blob(random_bytes(2 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB - 1), test::step::stall("end")});
  start();
  std::atomic<uint64_t> most = 0;
  std::thread client([&] {
    test::FetchOptions options;
    options.on_progress = [&](uint64_t have) {
      most = std::max<uint64_t>(most, have);
      // All of the first block and nothing of the last has come: let the upstream end.
      if (have == kMiB) upstream.release("end");
      return true;
    };
    EXPECT_EQ(test::fetch(edge->port(), blob.path, options).body, blob.bytes);
  });
  client.join();
  EXPECT_EQ(most, 2 * kMiB);
}

TEST_F(EdgeTest, RangesOfAColdBlobAreKeptAndCostNothingTwice) {
  const TestBlob blob(random_bytes(24 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(kMiB), test::step::stall("front")});
  start();
  // The front run stands still; a range far beyond it is answered all the same.
  std::thread front([&] { EXPECT_EQ(get(blob.path).body, blob.bytes); });
  upstream.wait_stalled("front");
  const uint64_t begin = 16 * kMiB + 5;
  const test::Fetched far =
      get(blob.path, "bytes=" + std::to_string(begin) + "-" + std::to_string(begin + 99));
  EXPECT_EQ(far.status, 206);
  EXPECT_EQ(far.body, blob.bytes.substr(begin, 100));
  upstream.release("front");
  front.join();
  wait_stored(1);
  EXPECT_EQ(get(blob.path).header("Cache-Status"), "edge-1; hit");
  // The transfer of the front run was left where the range's bytes begin, after what was in flight.
  EXPECT_GE(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(EdgeTest, RangeFormsOnMissAndHit) {
  const TestBlob blob(random_bytes(3 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  for (int round = 0; round < 2; ++round) {
    const test::Fetched middle = get(blob.path, "bytes=500-1499");
    EXPECT_EQ(middle.status, 206);
    EXPECT_EQ(middle.body, blob.bytes.substr(500, 1000));
    EXPECT_EQ(middle.header("Content-Range"), "bytes 500-1499/" + std::to_string(3 * kMiB));
    EXPECT_EQ(get(blob.path, "bytes=-500").body, blob.bytes.substr(3 * kMiB - 500));
    EXPECT_EQ(get(blob.path, "bytes=500-").body, blob.bytes.substr(500));
    wait_stored(1);
    const test::Fetched beyond = get(blob.path, "bytes=" + std::to_string(3 * kMiB) + "-");
    EXPECT_EQ(beyond.status, 416);
    EXPECT_TRUE(beyond.complete);
    EXPECT_EQ(beyond.header("Content-Range"), "bytes */" + std::to_string(3 * kMiB));
    EXPECT_EQ(beyond.header("Cache-Status"), "edge-1; hit");
    EXPECT_EQ(beyond.header("Via"), "1.1 edge-1");
    const test::Fetched several = get(blob.path, "bytes=0-9,100-109");
    EXPECT_EQ(several.status, 206);
    EXPECT_TRUE(several.header("Content-Type").starts_with("multipart/byteranges"));
  }
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(EdgeTest, ConditionalRequests) {
  const TestBlob blob(random_bytes(100));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  test::FetchOptions options;
  options.headers.set("If-None-Match", "W/\"" + blob.digest.str() + "\"");
  EXPECT_EQ(test::fetch(edge->port(), blob.path, options).status, 304);
  wait_stored(1);
  EXPECT_EQ(test::fetch(edge->port(), blob.path, options).status, 304);
}

TEST_F(EdgeTest, EmptyBlob) {
  const TestBlob blob("");
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  for (int round = 0; round < 2; ++round) {
    const test::Fetched answer = get(blob.path);
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.header("Content-Length"), "0");
  }
}

TEST_F(EdgeTest, Sha512Blob) {
  const std::string bytes = random_bytes(kMiB + 5);
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha512, bytes);
  const std::string path = "/v2/app/blobs/" + digest.str();
  upstream.serve_blob(path, bytes);
  start();
  EXPECT_EQ(get(path).body, bytes);
  wait_stored(1);
  EXPECT_EQ(get(path).header("Cache-Status"), "edge-1; hit");
}

TEST_F(EdgeTest, OtherRoutesAndMethods) {
  start();
  EXPECT_EQ(get("/v2/").body, "{}");
  expect_error(get("/v2/app/blobs/sha256:short"), 400, "DIGEST_INVALID");
  expect_error(get("/v2/app/manifests/latest"), 404, "NAME_UNKNOWN");
  expect_error(get("/v2/../blobs/" + TestBlob("x").digest.str()), 400, "NAME_INVALID");
  expect_error(get("/etc/passwd"), 404, "NAME_UNKNOWN");
  const test::Fetched deleted = test::fetch(edge->port(), TestBlob("x").path, {.method = "DELETE"});
  expect_error(deleted, 405, "UNSUPPORTED");
  EXPECT_EQ(deleted.header("Allow"), "GET, HEAD");
  EXPECT_EQ(upstream.requests().size(), 0U);
}

TEST_F(EdgeTest, AbsentInOneRepositoryIsAskedForInAnother) {
  const TestBlob there(random_bytes(1000), "public");
  const TestBlob elsewhere(there.bytes, "private");
  upstream.serve_blob(there.path, there.bytes);
  start();
  expect_error(get(elsewhere.path), 404, "BLOB_UNKNOWN");
  EXPECT_EQ(get(there.path).body, there.bytes);
}

TEST_F(EdgeTest, SurvivesARestart) {
  const TestBlob blob(random_bytes(2 * kMiB + 3));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  get(blob.path);
  stop();
  start();
  const test::Fetched answer = get(blob.path);
  EXPECT_EQ(answer.body, blob.bytes);
  EXPECT_EQ(answer.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(EdgeTest, StopInTheMiddleOfAFillKeepsItsBlocks) {
  const TestBlob blob(random_bytes(6 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(4 * kMiB), test::step::stall("never")});
  EdgeConfig quick = config();
  quick.drain_timeout = std::chrono::nanoseconds(0);
  start(std::move(quick));
  std::barrier has_bytes(2);
  std::thread client([&] {
    bool told = false;
    test::FetchOptions options;
    options.on_progress = [&](uint64_t have) {
      if (!told && have >= 4 * kMiB) {
        told = true;
        has_bytes.arrive_and_wait();
      }
      return true;
    };
    EXPECT_FALSE(test::fetch(edge->port(), blob.path, options).complete);
  });
  has_bytes.arrive_and_wait();
  edge->stop();
  client.join();
  stop();
  start();
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(upstream.requests().back().range, "bytes=" + std::to_string(4 * kMiB) + "-");
}

TEST_F(EdgeTest, SpoiltPartialBlobIsNotServedEvenByRange) {
  const TestBlob blob(random_bytes(6 * kMiB));
  const std::filesystem::path cache_directory = directory.path() / "cache";
  {
    // As a power cut leaves it: the map says that the block is there, its bytes say otherwise.
    cache::BlobStore store(
        {.root = cache_directory, .capacity = 1ULL << 30, .boot = "before the power cut"});
    auto writer = store.write(blob.digest, blob.bytes.size());
    ASSERT_TRUE(writer.has_value());
    (*writer)->write(0, std::string(2 * kMiB, '\0'));
    (*writer)->mark(0);
    (*writer)->mark(1);
  }
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  expect_error(get(blob.path, "bytes=100-199"), 502, "UNAVAILABLE");
  EXPECT_EQ(get(blob.path, "bytes=100-199").body, blob.bytes.substr(100, 100));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(EdgeTest, BudgetEvictsTheLeastRecentlyUsed) {
  EdgeConfig small = config();
  small.cache.capacity = 3 * kMiB + 8192;  // and the map of one being filled
  start(std::move(small));
  std::vector<TestBlob> blobs;
  for (unsigned i = 0; i < 4; ++i) {
    blobs.emplace_back(random_bytes(kMiB, i + 1));
    upstream.serve_blob(blobs.back().path, blobs.back().bytes);
  }
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(get(blobs[i].path).body, blobs[i].bytes);
    wait_stored(i + 1);
  }
  EXPECT_EQ(get(blobs[0].path).body, blobs[0].bytes);
  EXPECT_EQ(get(blobs[3].path).body, blobs[3].bytes);  // takes the place of 1
  wait_stored(3);
  EXPECT_EQ(get(blobs[0].path).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(get(blobs[2].path).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(upstream.count(blobs[1].path), 1U);
  EXPECT_EQ(get(blobs[1].path).header("Cache-Status"), "edge-1; fwd=uri-miss; stored");
  EXPECT_LE(edge->stats().blob_bytes + edge->stats().reserved_bytes, 3 * kMiB + 8192);
}

TEST_F(EdgeTest, EightParallelColdRangesCostTheBlobOnce) {
  constexpr uint64_t kPart = 8 * kMiB;
  const TestBlob blob(random_bytes(8 * kPart));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  std::vector<std::thread> clients;
  clients.reserve(8);
  for (uint64_t i = 0; i < 8; ++i) {
    clients.emplace_back([&, i] {
      // As containerd asks: to the end, of which only a part is taken.
      const uint64_t begin = i * kPart;
      test::FetchOptions options;
      options.headers.set("Range", "bytes=" + std::to_string(begin) + "-");
      options.on_progress = [](uint64_t bytes) { return bytes < kPart; };
      const test::Fetched part = test::fetch(edge->port(), blob.path, options);
      EXPECT_EQ(part.status, 206);
      EXPECT_TRUE(part.body.substr(0, kPart) == blob.bytes.substr(begin, kPart));
    });
  }
  for (std::thread& client : clients) client.join();
  wait_stored(1);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
  EXPECT_EQ(get(blob.path, "bytes=5-9").header("Cache-Status"), "edge-1; hit");
}

TEST_F(EdgeTest, EmptyBlobAskedForByRange) {
  const TestBlob blob("");
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  EXPECT_EQ(get(blob.path, "bytes=0-").status, 200);
  wait_stored(1);
}

TEST_F(EdgeTest, UpstreamWithoutRangesIsAWholeFetchThatIsKept) {
  const TestBlob blob(random_bytes(20 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::ignore_range()});
  start();
  EXPECT_EQ(get(blob.path, "bytes=12000000-12000099").body, blob.bytes.substr(12000000, 100));
  wait_stored(1);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

}  // namespace
}  // namespace proxy

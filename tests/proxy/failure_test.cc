// Upstreams that fail in every way, at many byte positions: a client gets the right bytes, a
// transfer that failed, or a clear error; and nothing wrong is ever stored.
#include <thread>
#include <tuple>

#include "tests/proxy/edge_fixture.h"
#include "tests/support/certificates.h"

namespace proxy {
namespace {

namespace step = test::step;
constexpr size_t kSize = 3 * kMiB + kMiB / 2;
const std::vector<uint64_t> kPositions = {0,        1,        4096,         kMiB - 1, kMiB,
                                          kMiB + 1, 2 * kMiB, 3 * kMiB - 1, 3 * kMiB, 3 * kMiB + 1,
                                          kSize - 1};

// An authority for all tests of this program.
struct Authority {
  test::TempDir directory;
  test::CertificateAuthority ca{directory.path(), "ca"};
  test::CertificateFiles server = ca.issue_server();
};
Authority& authority() {
  static Authority one;
  return one;
}

test::FakeUpstream::Options options(bool tls) {
  if (!tls) return {};
  return {.certificate = authority().server.certificate, .key = authority().server.key};
}

class FailureTest : public EdgeTest {
 protected:
  explicit FailureTest(bool tls = false)
      : EdgeTest(options(tls)), tls_(tls), blob(random_bytes(kSize)) {
    upstream.serve_blob(blob.path, blob.bytes);
  }

  EdgeConfig config() {
    EdgeConfig config = EdgeTest::config();
    if (tls_) config.upstreams[0].client.ca_file = authority().ca.certificate();
    return config;
  }
  using EdgeTest::start;
  void start() { start(config()); }

  // Every attempt of one fill gets the script.
  void script_all(const test::FakeUpstream::Script& script) {
    for (size_t i = 0; i < UpstreamConfig().rounds; ++i) upstream.script(blob.path, script);
  }
  // Whatever happened, the next client gets the right bytes, once the upstream is well.
  void expect_recovered() {
    const test::Fetched answer = get(blob.path);
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.body == blob.bytes);
  }
  // Not the blob, not taken for it, not stored.
  void expect_failed(const test::Fetched& answer) {
    EXPECT_TRUE(answer.status != 200 || !answer.complete) << "a complete answer of wrong bytes";
    EXPECT_EQ(edge->stats().blobs, 0U);
  }
  // Fifty clients at once, of which the first has the upstream stall at "go" before its first byte.
  template <typename Check>
  void with_fifty_clients(Check check) {
    std::vector<std::thread> clients;
    for (int i = 0; i < 50; ++i) {
      clients.emplace_back([&] { check(get(blob.path)); });
    }
    upstream.wait_stalled("go");
    upstream.release("go");
    for (std::thread& client : clients) client.join();
  }

  const bool tls_;
  TestBlob blob;
};

// At many positions of the blob, plain and over TLS; with many clients at some of them.
class AtPosition : public FailureTest,
                   public ::testing::WithParamInterface<std::tuple<uint64_t, bool>> {
 protected:
  AtPosition() : FailureTest(std::get<bool>(GetParam())) {}
  static uint64_t position() { return std::get<uint64_t>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Positions, AtPosition,
                         ::testing::Combine(::testing::ValuesIn(kPositions), ::testing::Bool()),
                         [](const auto& each) {
                           return std::to_string(std::get<uint64_t>(each.param)) +
                                  (std::get<bool>(each.param) ? "Tls" : "Plain");
                         });

class FiftyClients : public AtPosition {};
INSTANTIATE_TEST_SUITE_P(Positions, FiftyClients,
                         ::testing::Combine(::testing::Values(0, kMiB, 3 * kMiB, kSize - 1),
                                            ::testing::Bool()));

TEST_P(AtPosition, ClosedOnceIsResumedAndNobodyNotices) {
  upstream.script(blob.path, {step::send_upto(position()), step::close()});
  start();
  expect_recovered();
  EXPECT_LE(upstream.bytes_sent(blob.path), blob.bytes.size());
  if (position() > 0) {
    EXPECT_EQ(upstream.requests().back().range, "bytes=" + std::to_string(position()) + "-");
    EXPECT_FALSE(upstream.requests().back().headers.has("If-Range"));
  }
}

TEST_P(AtPosition, ResetIsResumed) {
  upstream.script(blob.path, {step::send_upto(position()), step::reset()});
  start();
  expect_recovered();
}

TEST_P(AtPosition, ResumedOnTheNextUpstream) {
  test::FakeUpstream second(options(tls_));
  second.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {step::send_upto(position()), step::close()});
  EdgeConfig two = config();
  two.upstreams[0].urls.push_back(second.url());
  start(std::move(two));
  expect_recovered();
  EXPECT_EQ(second.count(blob.path), 1U);
  EXPECT_EQ(upstream.bytes_sent(blob.path) + second.bytes_sent(blob.path), blob.bytes.size());
}

TEST_P(AtPosition, AlwaysClosedIsAFailedTransfer) {
  script_all({step::send_upto(position()), step::close()});
  for (int i = 0; i < 3; ++i) script_all({step::close()});
  start();
  const test::Fetched answer = get(blob.path);
  if (answer.complete) {
    // The resumes got along in steps until all was there.
    EXPECT_TRUE(answer.status == 502 || answer.body == blob.bytes);
  } else {
    expect_failed(answer);
  }
}

TEST_P(AtPosition, StallIsCutAndResumed) {
  upstream.script(blob.path, {step::send_upto(position()), step::stall("stuck")});
  EdgeConfig manual = config();
  manual.clock = &clock;
  // Time is moved until the stall is noticed, which must end nothing else.
  const auto long_time = std::chrono::hours(1000);
  manual.limits.header_timeout = manual.limits.idle_timeout = manual.limits.send_timeout =
      long_time;
  manual.upstreams[0].client.connect_timeout = manual.upstreams[0].client.first_byte_timeout =
      long_time;
  manual.upstreams[0].rounds = 1000;
  start(std::move(manual));
  std::thread client([&] { expect_recovered(); });
  upstream.wait_stalled("stuck");
  // The edge may not have read the last bytes when the upstream stands still, so time goes on until
  // a second request shows that the stall was noticed.
  while (upstream.count(blob.path) < 2) {
    clock.advance(std::chrono::seconds(31));
    std::this_thread::yield();
  }
  client.join();
  upstream.release("stuck");
}

TEST_P(AtPosition, FlippedBitIsNeverACompleteAnswer) {
  script_all({step::corrupt(position())});
  start();
  expect_failed(get(blob.path));
  upstream.serve_blob(blob.path, blob.bytes);
  // Scripts that were not used would corrupt the recovery too.
  while (!get(blob.path).complete) {
  }
  expect_recovered();
}

TEST_P(FiftyClients, AFlippedBitIsNeverACompleteAnswer) {
  upstream.script(blob.path, {step::corrupt(position()), step::send_upto(0), step::stall("go")});
  start();
  with_fifty_clients([&](const test::Fetched& answer) {
    // A client that came after the failure may have been served by a new, right fill.
    EXPECT_TRUE(answer.status != 200 || !answer.complete || answer.body == blob.bytes);
  });
}

TEST_P(FiftyClients, NoticeNothingOfACut) {
  upstream.script(blob.path, {step::send_upto(0), step::stall("go"), step::send_upto(position()),
                              step::close()});
  start();
  with_fifty_clients([&](const test::Fetched& answer) {
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.complete && answer.body == blob.bytes);
  });
  EXPECT_LE(upstream.bytes_sent(blob.path), blob.bytes.size() + kMiB);
}

TEST_P(FiftyClients, NoticeNothingOfAReset) {
  upstream.script(blob.path, {step::send_upto(0), step::stall("go"), step::send_upto(position()),
                              step::reset()});
  start();
  with_fifty_clients([&](const test::Fetched& answer) {
    EXPECT_TRUE(answer.status == 200 && answer.complete && answer.body == blob.bytes);
  });
}

TEST_P(AtPosition, LongerThanTheBlob) {
  script_all({step::respond(200, {}, blob.bytes + std::string(position() + 1, 'x'))});
  start();
  expect_failed(get(blob.path));
}

TEST_P(AtPosition, ShorterThanTheBlob) {
  script_all({step::respond(200, {}, blob.bytes.substr(0, position()))});
  start();
  expect_failed(get(blob.path));
}

TEST_P(AtPosition, LengthThatLies) {
  script_all({step::claim_length(kSize + 1 + position())});
  start();
  expect_failed(get(blob.path));
}

struct Refusal {
  int upstream_status;
  int status;
  const char* code;
};
class WithStatus : public FailureTest,
                   public ::testing::WithParamInterface<std::tuple<Refusal, bool>> {
 protected:
  WithStatus() : FailureTest(std::get<bool>(GetParam())) {}
  static const Refusal& refusal() { return std::get<Refusal>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(
    Statuses, WithStatus,
    ::testing::Combine(
        ::testing::Values(Refusal{401, 502, "UNAVAILABLE"}, Refusal{403, 502, "UNAVAILABLE"},
                          Refusal{404, 404, "BLOB_UNKNOWN"}, Refusal{410, 404, "BLOB_UNKNOWN"},
                          Refusal{429, 429, "TOOMANYREQUESTS"}, Refusal{500, 502, "UNAVAILABLE"},
                          Refusal{502, 502, "UNAVAILABLE"}, Refusal{503, 502, "UNAVAILABLE"},
                          Refusal{302, 502, "UNAVAILABLE"}, Refusal{204, 502, "UNAVAILABLE"}),
        ::testing::Bool()));

TEST_P(WithStatus, IsAClearError) {
  http::Headers headers;
  headers.set("Content-Type", "text/html");
  if (refusal().upstream_status == 429) headers.set("Retry-After", "7");
  script_all({step::respond(refusal().upstream_status, headers, "<html>no</html>")});
  start();
  const test::Fetched answer = get(blob.path);
  expect_error(answer, refusal().status, refusal().code);
  if (refusal().upstream_status == 429) {
    EXPECT_EQ(answer.header("Retry-After"), "7");
  }
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_P(WithStatus, AnotherUpstreamHelps) {
  test::FakeUpstream second(options(tls_));
  second.serve_blob(blob.path, blob.bytes);
  script_all({step::respond(refusal().upstream_status, {}, "no")});
  EdgeConfig two = config();
  two.upstreams[0].urls.push_back(second.url());
  start(std::move(two));
  expect_recovered();
}

TEST_P(WithStatus, IsAClearErrorForFiftyClients) {
  upstream.script(blob.path, {step::stall("go"), step::respond(refusal().upstream_status)});
  script_all({step::respond(refusal().upstream_status)});
  for (int i = 0; i < 200; ++i) {
    upstream.script(blob.path, {step::respond(refusal().upstream_status)});
  }
  start();
  with_fifty_clients(
      [&](const test::Fetched& answer) { expect_error(answer, refusal().status, refusal().code); });
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_P(WithStatus, OfHead) {
  script_all({step::respond(refusal().upstream_status)});
  start();
  EXPECT_EQ(head(blob.path).status, refusal().status);
}

TEST_F(FailureTest, WebPageWithStatus200) {
  http::Headers html;
  html.set("Content-Type", "text/html; charset=utf-8");
  script_all({step::respond(200, html, "<html>log in</html>")});
  start();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(edge->stats().blobs, 0U);
  expect_recovered();
}

TEST_F(FailureTest, OtherBytesOfTheSameLength) {
  script_all({step::respond(200, {}, random_bytes(kSize, 99))});
  start();
  expect_failed(get(blob.path));
}

TEST_F(FailureTest, SmallBlobWithWrongBytesIsAnErrorAndNoReset) {
  const TestBlob small(random_bytes(1000));
  upstream.serve_blob(small.path, small.bytes);
  upstream.script(small.path, {step::corrupt(500)});
  start();
  expect_error(get(small.path), 502, "UNAVAILABLE");
  EXPECT_EQ(get(small.path).body, small.bytes);
}

TEST_F(FailureTest, ContentCodingIsRefused) {
  http::Headers coded;
  coded.set("Content-Encoding", "gzip");
  script_all({step::respond(200, coded, blob.bytes)});
  start();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
}

TEST_F(FailureTest, WholeBlobInAnswerToTheResumeIsUsed) {
  upstream.script(blob.path, {step::send_upto(kMiB + 5), step::close()});
  upstream.script(blob.path, {step::ignore_range()});
  start();
  expect_recovered();
}

// Behind a proxy with a limit on time or size; a clean end too early is no better than a cut.
TEST_F(FailureTest, ResumesThatBringNothingNewComeToAnEnd) {
  start();
  for (const bool clean_end : {false, true}) {
    const TestBlob cut(random_bytes(kSize, clean_end ? 2 : 3));
    upstream.serve_blob(cut.path, cut.bytes);
    upstream.script(cut.path, {step::send_upto(2 * kMiB), step::close()});
    for (int i = 0; i < 10; ++i) {
      test::FakeUpstream::Script again = {step::ignore_range(), step::send_upto(2 * kMiB)};
      if (clean_end) {
        again.insert(again.begin(), step::chunked());
        again.push_back(step::raw("0\r\n\r\n"));
      }
      again.push_back(step::close());
      upstream.script(cut.path, std::move(again));
    }
    expect_failed(get(cut.path));
    EXPECT_EQ(upstream.count(cut.path), UpstreamConfig().rounds);
  }
}

TEST_F(FailureTest, NoUpstreamListens) {
  upstream.stop();
  start();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  upstream.start();
  expect_recovered();
}

TEST_F(FailureTest, DiesInTheMiddleAndComesBack) {
  upstream.script(blob.path, {step::send_upto(2 * kMiB), step::stall("dying")});
  start();
  std::thread client([&] { EXPECT_FALSE(get(blob.path).complete); });
  upstream.wait_stalled("dying");
  upstream.stop();
  client.join();
  upstream.start();
  EXPECT_EQ(edge->stats().blobs, 0U);
  expect_recovered();
}

TEST_F(FailureTest, SlowReaderSlowsNobody) {
  start();
  std::atomic<bool> fast_done = false;
  test::FetchOptions slow;
  slow.on_progress = [&](uint64_t) {
    // Takes nothing more until the other has everything.
    fast_done.wait(false);
    return true;
  };
  std::thread reader(
      [&] { EXPECT_EQ(test::fetch(edge->port(), blob.path, slow).body, blob.bytes); });
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  fast_done = true;
  fast_done.notify_all();
  reader.join();
}

}  // namespace
}  // namespace proxy

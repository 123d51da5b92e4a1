// An edge and upstreams in trouble: failover, ejection, throttling, limits and what is remembered.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <thread>

#include "base/durable_file.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

namespace step = test::step;
using std::chrono::seconds;

class UpstreamTest : public EdgeTest {
 protected:
  // Time stands still but for what the test moves.
  EdgeConfig manual() {
    EdgeConfig config = EdgeTest::config();
    config.clock = &clock;
    return config;
  }
  EdgeConfig with_second() {
    EdgeConfig config = manual();
    config.upstreams[0].urls.push_back(second.url());
    return config;
  }
  TestBlob serve(const std::string& content) {
    TestBlob blob(content);
    upstream.serve_blob(blob.path, blob.bytes);
    second.serve_blob(blob.path, blob.bytes);
    return blob;
  }

  test::FakeUpstream second;
};

TEST_F(UpstreamTest, CutAtHalfFiftyClientsNoticeNothing) {
  const TestBlob blob = serve(random_bytes(8 * kMiB));
  upstream.script(blob.path, {step::send_upto(4 * kMiB), step::stall("half"), step::close()});
  start(with_second());
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int i = 0; i < 50; ++i) {
    clients.emplace_back([&] {
      const test::Fetched answer = get(blob.path);
      if (answer.status == 200 && answer.complete && answer.body == blob.bytes) ++right;
    });
  }
  upstream.wait_stalled("half");
  upstream.release("half");
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 50);
  EXPECT_EQ(second.count(blob.path), 1U);
  EXPECT_LE(upstream.bytes_sent(blob.path) + second.bytes_sent(blob.path),
            blob.bytes.size() + kMiB);
}

TEST_F(UpstreamTest, AnAnswerWithoutUseIsNotWaitedForForLong) {
  constexpr std::chrono::hours kYears(24 * 365 * 10);
  const TestBlob blob(random_bytes(100'000));
  const std::string elsewhere = "/elsewhere";
  http::Headers to_there;
  to_there.set("Location", elsewhere);
  upstream.serve_blob(elsewhere, blob.bytes);
  upstream.script(blob.path, {step::respond(307, to_there, "you will find it elsewhere"),
                              step::send_upto(10), step::stall("hung")});
  EdgeConfig config = manual();
  http::ClientOptions& client = config.upstreams[0].client;
  client.connect_timeout = client.first_byte_timeout = client.stall_timeout = kYears;
  start(std::move(config));
  std::thread its([&] { EXPECT_TRUE(get(blob.path).body == blob.bytes); });
  upstream.wait_stalled("hung");
  while (upstream.count(elsewhere) == 0) {
    clock.advance(seconds(1));
    std::this_thread::yield();
  }
  its.join();
}

TEST_F(UpstreamTest, WhatAFillLeftBehindIsReadAtOnceByTheNext) {
  const TestBlob blob = serve(random_bytes(8 * kMiB));
  upstream.script(blob.path, {step::send_upto(5 * kMiB + 100), step::close()});
  EdgeConfig config = manual();
  config.upstreams[0].rounds = 1;
  start(std::move(config));
  EXPECT_FALSE(get(blob.path).complete);
  upstream.script(blob.path, {step::stall("rest")});
  bool released = false;
  test::FetchOptions options;
  options.on_progress = [&](uint64_t received) {
    if (received >= 5 * kMiB && !std::exchange(released, true)) upstream.release("rest");
    return true;
  };
  const test::Fetched answer = test::fetch(edge->port(), blob.path, options);
  EXPECT_TRUE(answer.complete && answer.body == blob.bytes);
  EXPECT_TRUE(released);
  EXPECT_LE(upstream.bytes_sent(blob.path), blob.bytes.size() + kMiB);
}

TEST_F(UpstreamTest, WhatAFormerProcessLeftIsReadAtOnceUnlessTheMachineWasStartedSince) {
  const TestBlob blob = serve(random_bytes(8 * kMiB));
  EdgeConfig config = manual();
  config.upstreams[0].rounds = 1;
  config.cache.boot = "first";
  EdgeConfig again = config;
  EdgeConfig after_a_power_cut = config;
  after_a_power_cut.cache.boot = "second";

  upstream.script(blob.path, {step::send_upto(3 * kMiB + 100), step::close()});
  start(std::move(config));
  EXPECT_FALSE(get(blob.path).complete);
  stop();
  upstream.script(blob.path, {step::stall("rest"), step::send_upto(2 * kMiB), step::close()});
  start(std::move(again));
  bool released = false;
  test::FetchOptions options;
  options.on_progress = [&](uint64_t received) {
    if (received >= 3 * kMiB && !std::exchange(released, true)) upstream.release("rest");
    return true;
  };
  EXPECT_FALSE(test::fetch(edge->port(), blob.path, options).complete);
  EXPECT_TRUE(released);
  stop();

  // The power cut took a block that the map names.
  const auto partial = std::filesystem::directory_iterator(directory.path() / "cache/incoming");
  for (const auto& file : partial) {
    if (file.file_size() != blob.bytes.size()) continue;
    const base::UniqueFd fd = base::open_file(file.path(), O_WRONLY);
    base::write_at(fd.get(), kMiB + 5, std::string(1000, '\0'));
  }
  start(std::move(after_a_power_cut));
  // Nothing of it was given to anybody, or the client would have been cut off.
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
}

TEST_F(UpstreamTest, DeadUrlIsLeftOutAndReturnsWhenTheCheckFindsItWell) {
  EdgeConfig config = with_second();
  config.upstreams[0].eject_after = 3;
  config.upstreams[0].eject_time = std::chrono::hours(10);
  config.upstreams[0].eject_time_max = std::chrono::hours(10);
  start(std::move(config));
  upstream.stop();
  for (int i = 0; i < 3; ++i) {
    const TestBlob blob = serve("dead " + std::to_string(i));
    EXPECT_EQ(get(blob.path).body, blob.bytes);
  }
  upstream.start();
  const TestBlob left_out = serve("left out");
  EXPECT_EQ(get(left_out.path).body, left_out.bytes);
  EXPECT_EQ(upstream.requests().size(), 0U) << "it is well, but nobody knows yet";

  upstream.serve_blob("/v2/", "{}");
  clock.advance(seconds(10));
  upstream.wait_complete(1);
  EXPECT_EQ(upstream.requests()[0].target, "/v2/");
  // The check's answer may not have been read yet.
  for (int i = 0; upstream.requests().size() == 1; ++i) {
    const TestBlob blob = serve("back " + std::to_string(i));
    EXPECT_EQ(get(blob.path).body, blob.bytes);
  }
}

TEST_F(UpstreamTest, ThrottledUpstreamIsLeftAloneByEveryone) {
  const TestBlob first = serve("first");
  const TestBlob other = serve("other");
  http::Headers wait;
  wait.set("Retry-After", "60");
  upstream.script(first.path, {step::respond(429, wait)});
  start(manual());
  const test::Fetched answer = get(first.path);
  expect_error(answer, 429, "TOOMANYREQUESTS");
  EXPECT_EQ(answer.header("Retry-After"), "60");
  clock.advance(seconds(20));
  EXPECT_EQ(get(other.path).header("Retry-After"), "40");
  EXPECT_EQ(head(other.path).status, 429);
  EXPECT_EQ(upstream.requests().size(), 1U);
  clock.advance(seconds(40));
  EXPECT_EQ(get(other.path).body, other.bytes);
  EXPECT_EQ(get(first.path).body, first.bytes);
}

TEST_F(UpstreamTest, RetryAfterAsADateIsBounded) {
  const TestBlob blob = serve("x");
  http::Headers wait;
  wait.set("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT");
  upstream.script(blob.path, {step::respond(429, wait)});
  start(manual());
  EXPECT_EQ(get(blob.path).header("Retry-After"), "300");
  clock.advance(seconds(300));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(UpstreamTest, TheOtherUrlIsAskedWhileOneIsThrottled) {
  const TestBlob blob = serve("x");
  const TestBlob other = serve("y");
  upstream.script(blob.path, {step::respond(429)});
  start(with_second());
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(get(other.path).body, other.bytes);
  EXPECT_EQ(upstream.requests().size(), 1U);
  EXPECT_EQ(second.requests().size(), 2U);
}

TEST_F(UpstreamTest, AbsenceIsRememberedForSomeSeconds) {
  const TestBlob blob("not yet pushed");
  start(manual());
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  EXPECT_EQ(head(blob.path).status, 404);
  EXPECT_EQ(upstream.count(blob.path), 1U);
  upstream.serve_blob(blob.path, blob.bytes);
  clock.advance(seconds(10));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(UpstreamTest, AbsenceLastsNoLongerBecauseManyAsk) {
  const TestBlob blob("not yet pushed");
  start(manual());
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  upstream.serve_blob(blob.path, blob.bytes);
  clock.advance(seconds(9));
  expect_error(get(blob.path), 404, "BLOB_UNKNOWN");
  clock.advance(seconds(1));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(UpstreamTest, ARefusalIsRememberedForSomeSeconds) {
  const TestBlob blob("private");
  // With a token that is not good enough, as registries answer for what they do not have.
  http::Headers challenge;
  challenge.set("WWW-Authenticate", "Bearer realm=\"" + upstream.url() + "/token\"");
  for (int i = 0; i < 3; ++i) upstream.script(blob.path, {step::respond(401, challenge)});
  upstream.serve_blob("/token", R"({"token":"t"})");
  start(manual());
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  const size_t asked = upstream.requests().size();
  EXPECT_GT(upstream.count("/token"), 0U);
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(head(blob.path).status, 502);
  EXPECT_EQ(upstream.requests().size(), asked);
  upstream.serve_blob(blob.path, blob.bytes);
  clock.advance(seconds(10));
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

// Whatever a client asks for, that is no failure of the upstream's.
TEST_F(UpstreamTest, ARequestThatTheUpstreamCallsWrongIsNoFailure) {
  const TestBlob blob("of a kind that it does not know");
  const TestBlob other = serve("other");
  upstream.script(blob.path, {step::respond(400)});
  second.script(blob.path, {step::respond(400)});
  EdgeConfig config = with_second();
  config.upstreams[0].eject_after = 1;
  start(std::move(config));
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(second.count(blob.path), 1U);
  EXPECT_EQ(get(other.path).body, other.bytes);
  EXPECT_EQ(upstream.count(other.path), 1U) << "it is not left out";
}

TEST_F(UpstreamTest, WrongBytesAreAskedForElsewhereNextTime) {
  const TestBlob blob = serve(random_bytes(1000));
  upstream.script(blob.path, {step::corrupt(500)});
  start(with_second());
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(second.count(blob.path), 1U);
  const TestBlob other = serve("other blobs are asked for as before");
  EXPECT_EQ(get(other.path).body, other.bytes);
  EXPECT_EQ(upstream.count(other.path), 1U);
}

TEST_F(UpstreamTest, AnAnswerThatEndsTooEarlyIsAFailureHoweverCleanTheEnd) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  const TestBlob other = serve("other");
  upstream.script(blob.path,
                  {step::chunked(), step::send_upto(kMiB), step::raw("0\r\n\r\n"), step::close()});
  EdgeConfig config = with_second();
  config.upstreams[0].eject_after = 1;
  start(std::move(config));
  EXPECT_TRUE(get(blob.path, "bytes=0-").body == blob.bytes);
  EXPECT_EQ(upstream.bytes_sent(blob.path) + second.bytes_sent(blob.path), blob.bytes.size());
  EXPECT_EQ(get(other.path).body, other.bytes);
  EXPECT_EQ(upstream.count(other.path), 0U) << "it is left out";
}

TEST_F(UpstreamTest, APartOfABlobOfAnotherSizeIsNotUsed) {
  const TestBlob blob = serve(random_bytes(2 * kMiB));
  upstream.script(blob.path, {step::send_upto(kMiB), step::close()});
  http::Headers range;
  range.set("Content-Range", "bytes 1048576-2097151/2097153");
  second.script(blob.path, {step::respond(206, range, blob.bytes.substr(kMiB))});
  start(with_second());
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  EXPECT_EQ(upstream.count(blob.path), 2U);
  EXPECT_EQ(second.count(blob.path), 1U);
}

// A server ignores the range of who asks for it with an ETag that is not its own, or when it has
// none (RFC 9110 §13.1.5), and a digest is no ETag but by chance.
class WithETag : public UpstreamTest, public ::testing::WithParamInterface<const char*> {
 protected:
  TestBlob serve(std::string content) {
    TestBlob blob(std::move(content));
    http::Headers headers;
    headers.set("ETag", GetParam());
    upstream.serve_blob(blob.path, blob.bytes, std::move(headers));
    return blob;
  }
};
INSTANTIATE_TEST_SUITE_P(ETags, WithETag, ::testing::Values("\"another\"", ""),
                         [](const auto& each) { return *each.param != 0 ? "Another" : "None"; });

TEST_P(WithETag, ATransferIsResumedWhereItBroke) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  upstream.script(blob.path, {step::send_upto(kMiB + 5), step::close()});
  start();
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_P(WithETag, ColdRangesCostTheBlobOnce) {
  const TestBlob blob = serve(random_bytes(24 * kMiB));
  // The front gets no further until the range is there.
  upstream.script(blob.path, {step::send_upto(kMiB), step::stall("front")});
  start();
  std::thread front([&] { EXPECT_EQ(get(blob.path, "bytes=0-9").body, blob.bytes.substr(0, 10)); });
  upstream.wait_stalled("front");
  const test::Fetched range = get(blob.path, "bytes=20000000-20000099");
  upstream.release("front");
  EXPECT_EQ(range.body, blob.bytes.substr(20'000'000, 100));
  front.join();
  wait_stored(1);
  EXPECT_EQ(upstream.bytes_sent(blob.path), blob.bytes.size());
}

TEST_F(UpstreamTest, RequestsBeyondTheLimitWaitAndBeyondTheQueueAreTurnedAway) {
  const TestBlob slow = serve("slow");
  const TestBlob waiting = serve("waiting");
  const TestBlob late = serve("late");
  upstream.script(slow.path, {step::stall("slow")});
  EdgeConfig config = manual();
  config.upstreams[0].max_requests = 1;
  config.upstreams[0].max_queue = 1;
  config.upstreams[0].queue_timeout = std::chrono::hours(1);
  start(std::move(config));
  std::thread first([&] { EXPECT_EQ(get(slow.path).body, slow.bytes); });
  upstream.wait_stalled("slow");
  // Of two more one waits, and one is turned away.
  std::atomic<int> turned_away = 0;
  const auto ask = [&](const TestBlob& blob) {
    const test::Fetched answer = get(blob.path);
    if (answer.status == 503) {
      ++turned_away;
      turned_away.notify_all();
    } else {
      EXPECT_EQ(answer.body, blob.bytes);
    }
  };
  std::thread other([&] { ask(waiting); });
  std::thread third([&] { ask(late); });
  turned_away.wait(0);
  EXPECT_EQ(upstream.requests().size(), 1U);
  upstream.release("slow");
  for (std::thread* thread : {&first, &other, &third}) thread->join();
  EXPECT_EQ(turned_away, 1);
}

class ObservedUpstreamTest : public UpstreamTest {
 protected:
  EdgeConfig observed() {
    EdgeConfig config = manual();
    config.admin.address = "127.0.0.1:0";
    config.admin.token = "the-token";
    return config;
  }
  // Until the upstream's figure at this JSON pointer is so.
  void wait_until(const char* figure, int count) const {
    test::FetchOptions options;
    options.headers.set("Authorization", "Bearer the-token");
    while (true) {
      const auto stats =
          nlohmann::json::parse(test::fetch(edge->admin_port(), "/stats", options).body);
      if (stats.at("upstreams").at(0).at(nlohmann::json::json_pointer(figure)).get<int>() == count)
        break;
    }
  }
  // A client in the middle of the blob, whose rest the upstream answers with 429.
  test::Fetched get_throttled(const TestBlob& blob, const std::string& retry_after,
                              base::Duration later) {
    http::Headers wait;
    wait.set("Retry-After", retry_after);
    upstream.script(blob.path, {step::send_upto(kMiB), step::stall("middle"), step::close()});
    upstream.script(blob.path, {step::stall("throttled"), step::respond(429, wait)});
    start(observed());
    test::Fetched answer;
    std::thread client([&] { answer = get(blob.path); });
    upstream.wait_stalled("middle");
    upstream.release("middle");
    upstream.wait_stalled("throttled");
    upstream.release("throttled");
    wait_until("/urls/0/throttled", 1);
    clock.advance(later);
    client.join();
    return answer;
  }
};

TEST_F(ObservedUpstreamTest, WhatClientsAreInTheMiddleOfGoesOnBeforeWhatOthersBegin) {
  const TestBlob cut = serve(random_bytes(3 * kMiB));
  const TestBlob next = serve("next");
  const TestBlob late = serve("late");
  upstream.script(cut.path, {step::send_upto(kMiB), step::stall("cut"), step::close()});
  upstream.script(next.path, {step::stall("next")});
  EdgeConfig config = observed();
  config.upstreams[0].max_requests = 1;
  config.upstreams[0].max_queue = 2;
  config.upstreams[0].queue_timeout = std::chrono::hours(1);
  start(std::move(config));
  std::vector<std::thread> clients;
  const auto ask = [&](const TestBlob& blob) {
    clients.emplace_back([&] { EXPECT_TRUE(get(blob.path).body == blob.bytes); });
  };
  ask(cut);
  upstream.wait_stalled("cut");
  ask(next);
  wait_until("/requests_waiting", 1);
  ask(late);
  wait_until("/requests_waiting", 2);
  upstream.release("cut");
  upstream.wait_stalled("next");
  wait_until("/requests_waiting", 2);
  upstream.release("next");
  for (std::thread& client : clients) client.join();
  std::vector<std::string> asked;
  for (const auto& seen : upstream.requests()) asked.push_back(seen.target);
  EXPECT_EQ(asked, (std::vector<std::string>{cut.path, next.path, cut.path, late.path}));
}

TEST_F(ObservedUpstreamTest, AClientInTheMiddleOfABlobOutlivesA429) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  EXPECT_TRUE(get_throttled(blob, "20", seconds(20)).body == blob.bytes);
  EXPECT_EQ(upstream.requests().size(), 3U);
}

TEST_F(ObservedUpstreamTest, AClientInTheMiddleOfABlobOutlivesA429ThatNamesNoTime) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  EXPECT_TRUE(get_throttled(blob, "0", seconds(0)).body == blob.bytes);
  EXPECT_EQ(upstream.requests().size(), 3U);
}

TEST_F(ObservedUpstreamTest, NoClientWaitsInVainForTheEndOfA429) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  EXPECT_FALSE(get_throttled(blob, "60", seconds(0)).complete);
  EXPECT_EQ(upstream.requests().size(), 2U);
}

TEST_F(UpstreamTest, AFrontThatWaitsForARangeTakesNoSlot) {
  const TestBlob blob = serve(random_bytes(24 * kMiB));
  const TestBlob other = serve("other");
  // It comes exactly to where the range begins.
  upstream.script(blob.path, {step::send_upto(kMiB), step::stall("front"),
                              step::send_upto(16 * kMiB), step::stall("rest")});
  upstream.script(blob.path, {step::stall("range")});
  EdgeConfig config = manual();
  config.upstreams[0].max_requests = 2;
  start(std::move(config));
  std::thread whole([&] { EXPECT_TRUE(get(blob.path).body == blob.bytes); });
  upstream.wait_stalled("front");
  const std::string range = "bytes=" + std::to_string(16 * kMiB) + "-" + std::to_string(17 * kMiB);
  std::thread part([&] { EXPECT_EQ(get(blob.path, range).body.size(), kMiB + 1); });
  upstream.wait_stalled("range");
  upstream.release("front");
  test::RawClient client(edge->port());
  client.send("GET " + other.path + " HTTP/1.1\r\nHost: h\r\n\r\n");
  const bool answered = client.readable();
  EXPECT_TRUE(answered);
  upstream.release("range");
  upstream.release("rest");
  EXPECT_EQ(client.response().body, other.bytes);
  whole.join();
  part.join();
}

TEST_F(UpstreamTest, ARangeThatCouldNotBeFetchedIsTriedAgainAfterAWhile) {
  const TestBlob blob = serve(random_bytes(24 * kMiB));
  upstream.script(blob.path, {step::send_upto(kMiB), step::stall("front")});
  upstream.script(blob.path, {step::respond(503)});
  EdgeConfig config = manual();
  config.upstreams[0].rounds = 1;
  config.upstreams[0].client.first_byte_timeout = std::chrono::hours(1000);
  config.upstreams[0].client.stall_timeout = std::chrono::hours(1000);
  start(std::move(config));
  const uint64_t begin = 16 * kMiB + 5;
  auto lazy = std::async(std::launch::async, [&] {
    return get(blob.path, "bytes=" + std::to_string(begin) + "-" + std::to_string(begin + 99));
  });
  upstream.wait_for_requests(2);
  std::jthread time([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      clock.advance(std::chrono::milliseconds(100));
      std::this_thread::yield();
    }
  });
  EXPECT_NO_THROW(upstream.wait_for_requests(3));
  time.request_stop();
  time.join();
  if (HasFailure()) upstream.release("front");  // what it would have to wait for
  EXPECT_EQ(lazy.get().body, blob.bytes.substr(begin, 100));
  upstream.release("front");
}

TEST_F(UpstreamTest, NobodyWaitsForASlotForEver) {
  const TestBlob slow = serve("slow");
  const TestBlob late = serve("late");
  upstream.script(slow.path, {step::stall("slow")});
  EdgeConfig config = manual();
  config.upstreams[0].max_requests = 1;
  config.upstreams[0].client.first_byte_timeout = std::chrono::hours(1000);
  config.limits.header_timeout = config.limits.idle_timeout = std::chrono::hours(1000);
  start(std::move(config));
  std::thread first([&] { EXPECT_EQ(get(slow.path).body, slow.bytes); });
  upstream.wait_stalled("slow");
  std::atomic<bool> done = false;
  std::thread other([&] {
    EXPECT_EQ(get(late.path).status, 503);
    done = true;
  });
  while (!done) {
    clock.advance(seconds(1));
    std::this_thread::yield();
  }
  other.join();
  upstream.release("slow");
  first.join();
}

TEST_F(UpstreamTest, BlobWithoutLengthIsSizedByHead) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  upstream.script(blob.path, {step::chunked(), step::expect_method("GET")});
  upstream.script(blob.path, {step::expect_method("HEAD")});
  start();
  const test::Fetched answer = get(blob.path);
  EXPECT_TRUE(answer.body == blob.bytes);
  EXPECT_EQ(answer.header("Content-Length"), std::to_string(blob.bytes.size()));
  // The first answer is given up, so that its request and its connection are there for the other.
  EXPECT_EQ(upstream.count(blob.path), 3U);
}

TEST_F(UpstreamTest, WhoAsksForALengthHoldsNoOtherRequest) {
  const TestBlob blob = serve(random_bytes(3 * kMiB));
  upstream.script(blob.path, {step::chunked()});
  upstream.script(blob.path, {step::expect_method("HEAD")});
  upstream.script(blob.path, {step::chunked()});
  EdgeConfig config = manual();
  config.upstreams[0].max_requests = config.upstreams[0].client.max_connections = 1;
  config.upstreams[0].queue_timeout = base::Duration::zero();
  start(std::move(config));
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
}

// All bytes are there, and the upstream holds back what ends the body.
TEST_F(UpstreamTest, NobodyWaitsForTheEndOfATransfer) {
  const TestBlob blob = serve(random_bytes(2 * kMiB));
  const TestBlob next = serve(random_bytes(1000, 2));
  upstream.script(blob.path, {step::chunked()});
  upstream.script(blob.path, {step::expect_method("HEAD")});
  upstream.script(blob.path,
                  {step::chunked(), step::send_upto(blob.bytes.size()), step::stall("end")});
  EdgeConfig config = manual();
  config.upstreams[0].max_requests = config.upstreams[0].client.max_connections = 1;
  start(std::move(config));
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  upstream.wait_stalled("end");
  // Nor does the transfer keep its request and its connection for long.
  std::thread other([&] { EXPECT_EQ(get(next.path).body, next.bytes); });
  clock.advance(seconds(1));
  other.join();
  upstream.release("end");
}

TEST_F(UpstreamTest, BlobWhoseLengthNobodyTellsIsAnError) {
  const TestBlob blob = serve("x");
  for (int i = 0; i < 10; ++i) upstream.script(blob.path, {step::chunked()});
  start();
  expect_error(get(blob.path), 502, "UNAVAILABLE");
}

}  // namespace
}  // namespace proxy

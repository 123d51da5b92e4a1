// What the endpoints of "notifications" are told, and that nobody else notices them.
#include "origin/events/events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/metrics.h"
#include "base/unique_fd.h"
#include "origin/events/event_metrics.h"
#include "tests/origin/event_sink.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/process.h"

namespace origin {
namespace {

using nlohmann::json;
using std::chrono_literals::operator""s;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

constexpr char kUuid[] = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
constexpr char kOctets[] = "application/octet-stream";

// "push", "pull", … in the order in which they came.
std::vector<std::string> actions(const std::vector<EventSink::Received>& received) {
  std::vector<std::string> out;
  for (const auto& one : received) out.push_back(one.event.at("action"));
  return out;
}

class EventsTest : public RegistryTest {
 protected:
  Config config_with(std::vector<EndpointConfig> endpoints) const {
    Config c = config();
    c.notifications.queue_directory = queues_.path();
    c.notifications.endpoints = std::move(endpoints);
    return c;
  }
  EndpointConfig endpoint(const std::string& name = "sink") const {
    EndpointConfig e;
    e.name = name;
    e.url = sink_.url();
    e.timeout = 60s;
    return e;
  }
  // The events that have come since the last call, once there are so many.
  std::vector<json> next(size_t count) {
    const auto all = sink_.wait_for(seen_ + count);
    EXPECT_EQ(all.size(), seen_ + count);
    std::vector<json> events;
    for (; seen_ < all.size(); ++seen_) events.push_back(all[seen_].event);
    return events;
  }
  // A port where nobody listens.
  static std::string nobody() { return "http://127.0.0.1:1/"; }

  test::TempDir queues_;
  EventSink sink_;
  size_t seen_ = 0;
};

json blob_target(uint16_t port, const std::string& repository, const std::string& content) {
  const std::string digest = sha256(content).str();
  return {{"mediaType", kOctets},
          {"size", content.size()},
          {"digest", digest},
          {"length", content.size()},
          {"repository", repository},
          {"url",
           "http://localhost:" + std::to_string(port) + "/v2/" + repository + "/blobs/" + digest}};
}

json manifest_target(uint16_t port, const std::string& manifest) {
  const std::string digest = sha256(manifest).str();
  return {{"mediaType", kManifestType},
          {"size", manifest.size()},
          {"digest", digest},
          {"length", manifest.size()},
          {"repository", "a/b"},
          {"url", "http://localhost:" + std::to_string(port) + "/v2/a/b/manifests/" + digest}};
}

json with(json target, const std::string& key, json value) {
  target[key] = std::move(value);
  return target;
}

TEST_F(EventsTest, TheEnvelope) {
  EndpointConfig e = endpoint();
  e.headers.add("X-Secret", "abc");
  Config c = config_with({e});
  const uint16_t port = start(std::move(c)).port();
  push_blob(port, "a/b", "hello");
  call(port, "HEAD", "/v2/a/b/blobs/" + sha256("hello").str(), "",
       fields({{"User-Agent", "test \xff/1"}}));
  const auto received = sink_.wait_for(2);
  EXPECT_EQ(received[0].headers.get("Content-Type"), kEventsMediaType);
  EXPECT_EQ(received[0].headers.get("X-Secret"), "abc");
  EXPECT_FALSE(received[0].headers.has("Expect"));

  const json& push = received[0].event;
  const json& pull = received[1].event;
  EXPECT_THAT(push.at("id").get<std::string>(), MatchesRegex(kUuid));
  EXPECT_NE(push.at("id"), pull.at("id"));
  EXPECT_THAT(push.at("timestamp").get<std::string>(),
              MatchesRegex("20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}.[0-9]{9}Z"));
  EXPECT_EQ(push.at("action"), "push");
  EXPECT_EQ(push.at("target"), blob_target(port, "a/b", "hello"));
  EXPECT_EQ(push.at("actor"), json::object());
  EXPECT_THAT(push.at("source").at("addr").get<std::string>(), MatchesRegex(".+:0"));
  EXPECT_THAT(push.at("source").at("instanceID").get<std::string>(), MatchesRegex(kUuid));
  EXPECT_EQ(push.at("source"), pull.at("source"));

  const json& request = pull.at("request");
  EXPECT_THAT(request.at("id").get<std::string>(), MatchesRegex(kUuid));
  EXPECT_NE(request.at("id"), push.at("request").at("id"));
  EXPECT_THAT(request.at("addr").get<std::string>(), MatchesRegex("127.0.0.1:[0-9]+"));
  EXPECT_EQ(request.at("host"), "localhost:" + std::to_string(port));
  EXPECT_EQ(request.at("method"), "HEAD");
  EXPECT_EQ(request.at("useragent"), "test \xef\xbf\xbd/1");
}

TEST_F(EventsTest, TheUrlOfATargetHasThePrefix) {
  Config c = config_with({endpoint()});
  c.prefix = "/registry";
  const uint16_t port = start(c).port();
  const auto post = call(port, "POST", "/registry/v2/a/blobs/uploads/");
  call(port, "PUT", location(post) + "&digest=" + sha256("hello").str(), "hello");
  const std::string url = next(1)[0].at("target").at("url");
  EXPECT_EQ(url, "http://localhost:" + std::to_string(port) + "/registry/v2/a/blobs/" +
                     sha256("hello").str());
}

TEST_F(EventsTest, OfBlobs) {
  Config c = config_with({endpoint()});
  c.redirect.url = "https://cdn.example";
  c.redirect.direct_below = 100;
  const uint16_t port = start(std::move(c)).port();
  const std::string blob = "/v2/a/b/blobs/" + sha256("hello").str();
  const std::string large(100, 'x');
  const json hello = blob_target(port, "a/b", "hello");

  push_blob(port, "a/b", "hello");
  EXPECT_EQ(next(1)[0].at("target"), hello);
  const std::string mount = "/v2/c/blobs/uploads/?mount=" + sha256("hello").str();
  EXPECT_EQ(call(port, "POST", mount + "&from=a/b").status, 201);
  const json mounted = next(1)[0];
  EXPECT_EQ(mounted.at("action"), "mount");
  EXPECT_EQ(mounted.at("target"), with(blob_target(port, "c", "hello"), "fromRepository", "a/b"));
  // What comes to nothing is not told.
  EXPECT_EQ(call(port, "POST", "/v2/c/blobs/uploads/?mount=" + sha256("no").str()).status, 202);
  EXPECT_EQ(call(port, "GET", "/v2/c/blobs/" + sha256("no").str()).status, 404);

  EXPECT_EQ(call(port, "GET", blob).status, 200);
  EXPECT_EQ(call(port, "HEAD", blob).status, 200);
  EXPECT_EQ(call(port, "GET", blob, "", fields({{"Range", "bytes=1-2"}})).status, 206);
  const std::string etag = '"' + sha256("hello").str() + '"';
  EXPECT_EQ(call(port, "GET", blob, "", fields({{"If-None-Match", etag}})).status, 304);
  for (const json& pull : next(4)) {
    EXPECT_EQ(pull.at("action"), "pull");
    EXPECT_EQ(pull.at("target"), hello);
  }
  const auto beyond = fields({{"Range", "bytes=5-"}});
  EXPECT_EQ(call(port, "GET", blob, "", beyond).status, 416);
  push_blob(port, "a/b", large);
  EXPECT_EQ(call(port, "GET", "/v2/a/b/blobs/" + sha256(large).str()).status, 302);
  EXPECT_EQ(next(2)[1].at("target"), blob_target(port, "a/b", large));

  EXPECT_EQ(call(port, "DELETE", blob).status, 202);
  const json deleted = next(1)[0];
  EXPECT_EQ(deleted.at("action"), "delete");
  EXPECT_EQ(deleted.at("target"), json({{"digest", sha256("hello").str()}, {"repository", "a/b"}}));
}

TEST_F(EventsTest, OfManifests) {
  const uint16_t port = start(config_with({endpoint()})).port();
  const oci::Digest config = push_blob(port, "a/b", "{}");
  const std::string manifest = image(config, {});
  const std::string by_digest = "/v2/a/b/manifests/" + sha256(manifest).str();
  const json target = manifest_target(port, manifest);
  next(1);

  EXPECT_EQ(push_manifest(port, "a/b", "v1", manifest).status, 201);
  EXPECT_EQ(next(1)[0].at("target"), with(target, "tag", "v1"));
  EXPECT_EQ(push_manifest(port, "a/b", sha256(manifest).str(), manifest).status, 201);
  EXPECT_EQ(next(1)[0].at("target"), target);
  EXPECT_EQ(push_manifest(port, "a/b", sha256(manifest).str() + "?tag=v2&tag=v3", manifest).status,
            201);
  const auto two = next(2);
  EXPECT_EQ(two[0].at("target"), with(target, "tag", "v2"));
  EXPECT_EQ(two[1].at("target"), with(target, "tag", "v3"));
  EXPECT_EQ(two[0].at("request"), two[1].at("request"));

  const std::string etag = '"' + sha256(manifest).str() + '"';
  EXPECT_EQ(call(port, "GET", by_digest, "", fields({{"If-None-Match", etag}})).status, 304);
  EXPECT_EQ(call(port, "GET", by_digest, "", fields({{"Range", "bytes=9999-"}})).status, 416);
  EXPECT_EQ(call(port, "GET", "/v2/a/b/manifests/v1").status, 200);
  EXPECT_EQ(call(port, "HEAD", by_digest).status, 200);
  const auto pulls = next(2);
  EXPECT_EQ(pulls[0].at("action"), "pull");
  EXPECT_EQ(pulls[0].at("target"), with(target, "tag", "v1"));
  EXPECT_EQ(pulls[1].at("target"), target);

  EXPECT_EQ(call(port, "DELETE", "/v2/a/b/manifests/v1").status, 202);
  EXPECT_EQ(next(1)[0].at("target"), json({{"repository", "a/b"}, {"tag", "v1"}}));
  EXPECT_EQ(call(port, "DELETE", by_digest).status, 202);
  const auto deleted = next(3);
  EXPECT_EQ(deleted[0].at("action"), "delete");
  EXPECT_EQ(deleted[0].at("target"),
            json({{"digest", sha256(manifest).str()}, {"repository", "a/b"}}));
  EXPECT_EQ(deleted[1].at("target"), json({{"repository", "a/b"}, {"tag", "v2"}}));
  EXPECT_EQ(deleted[2].at("target"), json({{"repository", "a/b"}, {"tag", "v3"}}));
}

TEST_F(EventsTest, WithReferences) {
  Config c = config_with({endpoint()});
  c.notifications.include_references = true;
  const uint16_t port = start(std::move(c)).port();
  const oci::Digest config = push_blob(port, "a/b", "{}");
  const oci::Digest layer = push_blob(port, "a/b", "layer");
  const std::string manifest = image(config, {layer});
  EXPECT_EQ(push_manifest(port, "a/b", "v1", manifest).status, 201);
  EXPECT_EQ(call(port, "GET", "/v2/a/b/manifests/v1").status, 200);
  const auto events = next(4);
  for (const json& event : {events[2], events[3]}) {
    const json references = event.at("target").at("references");
    ASSERT_EQ(references.size(), 2U);
    EXPECT_EQ(references[0].at("digest"), config.str());
    EXPECT_TRUE(references[0].contains("size"));
    EXPECT_TRUE(references[0].contains("mediaType"));
    EXPECT_EQ(references[1].at("digest"), layer.str());
  }
}

TEST_F(EventsTest, WhatAnEndpointIgnores) {
  EndpointConfig no_blobs = endpoint("no blobs");
  no_blobs.ignored_media_types = {kOctets};
  EndpointConfig no_pulls = endpoint("no pulls");
  no_pulls.url += "?no-pulls";
  no_pulls.ignored_actions = {"pull"};
  const uint16_t port = start(config_with({no_blobs, no_pulls})).port();
  const oci::Digest config = push_blob(port, "a/b", "{}");
  EXPECT_EQ(call(port, "GET", "/v2/a/b/blobs/" + config.str()).status, 200);
  EXPECT_EQ(push_manifest(port, "a/b", "v1", image(config, {})).status, 201);
  EXPECT_EQ(call(port, "GET", "/v2/a/b/manifests/v1").status, 200);
  // Of four events each endpoint gets two: one the manifest's, the other the pushes.
  std::map<std::string, int> kinds;
  for (const json& event : next(4)) {
    ++kinds[event.at("action").get<std::string>() + ' ' +
            event.at("target").at("mediaType").get<std::string>()];
  }
  EXPECT_EQ(kinds["push " + kManifestType], 2);
  EXPECT_EQ(kinds["pull " + kManifestType], 1);
  EXPECT_EQ(kinds[std::string("push ") + kOctets], 1);
}

class FixedSeries : public prometheus::Collectable {
 public:
  explicit FixedSeries(std::vector<EndpointStatus> endpoints) : endpoints_(std::move(endpoints)) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    return event_metrics(endpoints_);
  }

 private:
  const std::vector<EndpointStatus> endpoints_;
};

TEST(EventMetrics, AreDistributions) {
  const FixedSeries series({{.name = "sink",
                             .url = "https://user:password@h/",
                             .pending = 1,
                             .dropped = 2,
                             .events = 10,
                             .successes = 4,
                             .failures = 5,
                             .errors = 6,
                             .statuses = {{"200 OK", 4}, {"503 Service Unavailable", 5}}},
                            {.name = "idle", .url = "http://h/"}});
  base::Metrics metrics;
  metrics.include(series);
  EXPECT_EQ(metrics.text(), R"(# HELP registry_notifications_events_total The number of total events
# TYPE registry_notifications_events_total counter
registry_notifications_events_total{endpoint="sink",type="Events"} 10
registry_notifications_events_total{endpoint="sink",type="Successes"} 4
registry_notifications_events_total{endpoint="sink",type="Failures"} 5
registry_notifications_events_total{endpoint="sink",type="Errors"} 6
registry_notifications_events_total{endpoint="idle",type="Events"} 0
registry_notifications_events_total{endpoint="idle",type="Successes"} 0
registry_notifications_events_total{endpoint="idle",type="Failures"} 0
registry_notifications_events_total{endpoint="idle",type="Errors"} 0
# HELP registry_notifications_pending_total The gauge of pending events in queue
# TYPE registry_notifications_pending_total gauge
registry_notifications_pending_total{endpoint="sink"} 1
registry_notifications_pending_total{endpoint="idle"} 0
# HELP registry_notifications_status_total The number of status code
# TYPE registry_notifications_status_total counter
registry_notifications_status_total{code="200 OK",endpoint="sink"} 4
registry_notifications_status_total{code="503 Service Unavailable",endpoint="sink"} 5
# HELP entrepot_notifications_dropped_total Events that were lost because the queue was full or its disk failed.
# TYPE entrepot_notifications_dropped_total counter
entrepot_notifications_dropped_total{endpoint="sink"} 2
entrepot_notifications_dropped_total{endpoint="idle"} 0
)");
}

// An event is counted before the request that it is about is answered.
TEST_F(EventsTest, AreCountedForTheDebugServer) {
  Config c = config_with({endpoint()});
  c.debug = {.address = "127.0.0.1:0", .metrics = true};
  Registry& registry = start(std::move(c));
  push_blob(registry.port(), "a/b", "hello");
  EXPECT_THAT(call(registry.debug_port(), "GET", "/metrics").body,
              HasSubstr(R"(registry_notifications_events_total{endpoint="sink",type="Events"} 1)"));
}

TEST_F(EventsTest, ADeadEndpointConcernsNobodyElse) {
  EndpointConfig dead = endpoint("dead");
  dead.url = nobody();
  Registry registry(config_with({dead, endpoint()}));
  registry.start();
  push_image(registry.port(), "a/b", "v1", "content");
  const auto received = sink_.wait_for(2);
  EXPECT_EQ(received.back().event.at("action"), "push");
  registry.stop();  // waits for nobody
}

TEST_F(EventsTest, ARestartSendsWhatWasNotSent) {
  EndpointConfig dead = endpoint();
  dead.url = nobody();
  {
    Registry registry(config_with({dead}));
    registry.start();
    const std::string manifest = push_image(registry.port(), "a/b", "v1", "content");
    EXPECT_EQ(call(registry.port(), "GET", "/v2/a/b/manifests/v1").status, 200);
    registry.stop();
  }
  start(config_with({endpoint()}));
  EXPECT_THAT(actions(sink_.wait_for(4)), ElementsAre("push", "push", "push", "pull"));
}

TEST_F(EventsTest, AQueueIsOneProcess) {
  start(config_with({endpoint()}));
  EXPECT_THROW(Registry(config_with({endpoint()})), base::IoError);
}

// The real program: what it has acknowledged is told after it was killed.
TEST_F(EventsTest, AKillLosesNoEventOfAnAcknowledgedPush) {
  const auto write_config = [this](const std::string& url) {
    return queues_.write("config.yml",
                         "version: 0.1\n"
                         "storage: {filesystem: {rootdirectory: " +
                             (queues_.path() / "data").string() +
                             "}}\n"
                             "http: {addr: '127.0.0.1:0'}\n"
                             "server: {loops: 1, threads: 2}\n"
                             "notifications:\n"
                             "  queue: {directory: " +
                             (queues_.path() / "queues").string() +
                             "}\n"
                             "  endpoints:\n"
                             "    - {name: sink, timeout: 60s, threshold: 1, backoff: 60s, url: '" +
                             url + "'}\n");
  };
  {
    test::Process process({ORIGIN_PROGRAM, "serve", write_config(nobody()).string()});
    const uint16_t port = process.listening_port();
    push_blob(port, "a/b", "first");
    // From here on nobody but the request itself writes its event.
    process.wait_for("does not take events");
    push_blob(port, "a/b", "acknowledged");
    process.signal(SIGKILL);
    EXPECT_EQ(process.wait(), -SIGKILL);
  }
  const test::Process process({ORIGIN_PROGRAM, "serve", write_config(sink_.url()).string()});
  const auto events = next(2);
  EXPECT_EQ(events[0].at("target").at("digest"), sha256("first").str());
  EXPECT_EQ(events[1].at("target").at("digest"), sha256("acknowledged").str());
}

// One endpoint on a loop whose clock stands still unless the test moves it.
class EndpointTest : public EventsTest {
 protected:
  void run(EndpointConfig config) {
    NotificationsConfig notifications;
    notifications.queue_directory = queues_.path();
    endpoint_ = std::make_unique<Endpoint>(std::move(config), notifications, loops_.loop(0), pool_);
    loops_.call(0, [this] { scope_.spawn(endpoint_->run()); });
  }
  void offer(const std::string& action) {
    const Event event{action, {.repository = "a"}};
    endpoint_->offer(event, event_envelope(event, {}, "", {}));
  }
  void stop() {
    loops_.call(0, [this] { endpoint_->stop(); });
    loops_.await(0, [this] { return joined(this); });
  }
  static base::Task<void> joined(EndpointTest* self) { co_await self->scope_.join(); }

  base::ManualClock clock_;
  base::LoopGroup loops_{1, clock_};
  base::ThreadPool pool_{2};
  std::unique_ptr<Endpoint> endpoint_;
  base::TaskScope scope_;
};

TEST_F(EndpointTest, KeepsTheOrderAndTriesAgainUntilItIsAccepted) {
  EndpointConfig config = endpoint();
  config.threshold = 3;
  config.timeout = std::chrono::hours(10'000);
  sink_.answer(503);
  run(config);
  for (const char* action : {"one", "two", "three"}) offer(action);
  // Three attempts at once, and no more while the time stands still.
  EXPECT_THAT(actions(sink_.wait_for(3)), ElementsAre("one", "one", "one"));
  for (size_t attempts = 4; attempts <= 6; ++attempts) {
    while (sink_.count() < attempts) clock_.advance(1s);
  }
  EXPECT_EQ(endpoint_->status().pending, 3U);
  sink_.answer(302);
  while (endpoint_->status().successes < 3) clock_.advance(1s);
  const auto all = actions(sink_.wait_for(9));
  EXPECT_THAT(std::vector(all.end() - 3, all.end()), ElementsAre("one", "two", "three"));
  stop();
  const EndpointStatus status = endpoint_->status();
  EXPECT_EQ(status.events, 3U);
  EXPECT_EQ(status.pending, 0U);
  EXPECT_EQ(status.errors, 0U);
  EXPECT_EQ(status.failures, status.statuses.at("503 Service Unavailable"));
  EXPECT_EQ(status.successes, 3U);
}

TEST_F(EndpointTest, StopsWhileItWaitsForTheNextAttempt) {
  EndpointConfig config = endpoint();
  config.threshold = 1;
  config.url = nobody();
  run(config);
  offer("one");
  while (endpoint_->status().errors == 0) std::this_thread::yield();
  stop();
  EXPECT_EQ(endpoint_->status().pending, 1U);
}

// Listens, and takes a connection and what is sent, but never answers.
class SilentListener {
 public:
  SilentListener() : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    auto* address = reinterpret_cast<sockaddr*>(&address_);
    CHECK_EQ(::bind(listening_.get(), address, size), 0);
    CHECK_EQ(::listen(listening_.get(), 1), 0);
    CHECK_EQ(::getsockname(listening_.get(), address, &size), 0);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(ntohs(address_.sin_port)); }
  // Blocks until the request begins.
  void wait() {
    connection_.reset(::accept(listening_.get(), nullptr, nullptr));
    char byte = 0;
    CHECK_EQ(::read(connection_.get(), &byte, 1), 1);
  }

 private:
  base::UniqueFd listening_;
  base::UniqueFd connection_;
  sockaddr_in address_{};
};

TEST_F(EndpointTest, StopsWhileItWaitsForAnAnswer) {
  SilentListener silent;
  EndpointConfig config = endpoint();
  config.url = silent.url();
  run(config);
  offer("one");
  silent.wait();
  stop();
  EXPECT_EQ(endpoint_->status().pending, 1U);
  EXPECT_EQ(endpoint_->status().errors, 0U);
}

TEST_F(EndpointTest, GivesUpAnAttemptAtItsTimeout) {
  SilentListener silent;
  EndpointConfig config = endpoint();
  config.url = silent.url();
  run(config);
  offer("one");
  silent.wait();
  while (endpoint_->status().errors == 0) clock_.advance(60s);
  stop();
  EXPECT_EQ(endpoint_->status().pending, 1U);
}

TEST_F(EndpointTest, WaitsLongerAfterEachFailureUpToAMinute) {
  EndpointConfig config;
  config.threshold = 3;
  config.backoff = 2s;
  EXPECT_EQ(retry_delay(config, 2, 1), 0s);
  EXPECT_EQ(retry_delay(config, 3, 0), 2s);
  EXPECT_EQ(retry_delay(config, 4, 0), 4s);
  EXPECT_EQ(retry_delay(config, 4, 1), 5s);
  EXPECT_EQ(retry_delay(config, 1'000'000, 0), 60s);
  EXPECT_EQ(retry_delay(config, 1'000'000, 1), 75s);
  config.backoff = 120s;
  EXPECT_EQ(retry_delay(config, 1'000'000, 0), 120s);
}

}  // namespace
}  // namespace origin

// The administration of an edge, over real sockets, and the commands that use it.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/event_loop.h"
#include "base/fault_point.h"
#include "proxy/commands.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/certificates.h"

namespace proxy {
namespace {

using nlohmann::json;

class AdminTest : public EdgeTest {
 protected:
  AdminTest() : blob(random_bytes(3 << 20)) {
    upstream.serve_blob(blob.path, blob.bytes);
    EdgeConfig with_admin = config();
    with_admin.admin.address = "127.0.0.1:0";
    with_admin.admin.token = "the-token";
    start(std::move(with_admin));
  }

  test::Fetched ask(const std::string& path, const std::string& authorization) {
    test::FetchOptions options;
    if (!authorization.empty()) options.headers.set("Authorization", authorization);
    return test::fetch(edge->admin_port(), path, options);
  }
  test::Fetched ask(const std::string& path) { return ask(path, "Bearer the-token"); }
  json ask_json(const std::string& path) {
    const test::Fetched answer = ask(path);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
  }
  test::Fetched purge(const std::string& body, const std::string& type = "application/json") {
    test::FetchOptions options{.method = "POST", .body = body};
    options.headers.set("Authorization", "Bearer the-token");
    options.headers.set("Content-Type", type);
    return test::fetch(edge->admin_port(), "/purge", options);
  }
  void store() {
    ASSERT_EQ(get(blob.path).status, 200);
    wait_stored(1);
  }

  TestBlob blob;
};

TEST_F(AdminTest, IsForThoseWithTheToken) {
  for (const std::string& authorization :
       {std::string(), std::string("Bearer wrong"), std::string("Bearer the-token2"),
        "Basic " + base::encode_base64("x:wrong", base::Base64::standard)}) {
    for (const char* path : {"/", "/stats", "/metrics", "/blobs/x", "/nothing"}) {
      const test::Fetched answer = ask(path, authorization);
      EXPECT_EQ(answer.status, 401) << path << " " << authorization;
      EXPECT_EQ(answer.header("WWW-Authenticate"), "Basic realm=\"entrepot-edge\"");
    }
  }
  // A browser's user may have any name.
  EXPECT_EQ(ask("/", "Basic " + base::encode_base64("me:the-token", base::Base64::standard)).status,
            200);
}

TEST_F(AdminTest, CertificatesAreReadAgain) {
  test::CertificateAuthority before(directory.path(), "before");
  test::CertificateAuthority after(directory.path(), "after");
  const auto with_tls = [&](const test::CertificateFiles& files) {
    EdgeConfig config = AdminTest::config();
    config.admin.address = "127.0.0.1:0";
    config.admin.token = "the-token";
    config.admin.tls.emplace().certificates.push_back({files.certificate, files.key});
    return config;
  };
  stop();
  start(with_tls(before.issue_server("admin")));
  const auto status = [&](const test::CertificateAuthority& trusted) {
    test::FetchOptions options{.ca_file = trusted.certificate()};
    options.headers.set("Authorization", "Bearer the-token");
    return test::fetch(edge->admin_port(), "/stats", options).status;
  };
  EXPECT_EQ(status(before), 200);
  edge->reload(with_tls(after.issue_server("admin")));
  EXPECT_EQ(status(after), 200);
}

TEST_F(AdminTest, TellsWhatIsHeld) {
  EXPECT_EQ(ask("/blobs/" + blob.digest.str()).status, 404);
  EXPECT_EQ(ask("/blobs/sha256:abc").status, 400);
  store();
  const json held = ask_json("/blobs/" + blob.digest.str());
  EXPECT_EQ(held["state"], "held");
  EXPECT_EQ(held["size"], blob.bytes.size());
}

TEST_F(AdminTest, ShowsFillsAndRequestsUnderWay) {
  upstream.script(blob.path, {test::step::send_upto(1 << 20), test::step::stall("half")});
  std::thread client([&] { EXPECT_EQ(get(blob.path).body, blob.bytes); });
  upstream.wait_stalled("half");
  // The bytes are on their way from the upstream's socket to the disk.
  json stats = ask_json("/stats");
  while (stats["fills"].empty() || stats["fills"][0]["stored"] < (1 << 20)) {
    std::this_thread::yield();
    stats = ask_json("/stats");
  }
  EXPECT_EQ(stats["fills"][0]["digest"], blob.digest.str());
  EXPECT_EQ(stats["fills"][0]["upstream"], "origin");
  EXPECT_EQ(stats["fills"][0]["repository"], "app");
  EXPECT_EQ(stats["fills"][0]["size"], blob.bytes.size());
  ASSERT_EQ(stats["serving"].size(), 1U);
  EXPECT_EQ(stats["serving"][0]["path"], blob.path);
  EXPECT_EQ(stats["serving"][0]["client"], "127.0.0.1");
  EXPECT_EQ(ask_json("/blobs/" + blob.digest.str())["state"], "filling");
  upstream.release("half");
  client.join();
}

TEST_F(AdminTest, CountsWhatTheCacheDid) {
  store();
  ASSERT_EQ(get(blob.path).body, blob.bytes);
  ASSERT_EQ(get("/v2/app/blobs/sha256:bad").status, 400);
  // A request is counted after its client has its last byte, and a fill ends after it is stored.
  json stats = ask_json("/stats");
  while (stats["requests"]["none"] < 1 || stats["requests"]["hit"] < 1 ||
         stats["requests"]["miss"] < 1 || !stats["fills"].empty()) {
    std::this_thread::yield();
    stats = ask_json("/stats");
  }
  EXPECT_EQ(stats["requests"]["miss"], 1);
  EXPECT_EQ(stats["requests"]["hit"], 1);
  EXPECT_EQ(stats["sent_bytes"]["hit"], blob.bytes.size());
  EXPECT_DOUBLE_EQ(stats["hit_ratio"], 0.5);
  EXPECT_EQ(stats["cache"]["blobs"], 1);
  const json& upstream_stats = stats["upstreams"][0];
  EXPECT_EQ(upstream_stats["name"], "origin");
  EXPECT_EQ(upstream_stats["held_blobs"], 1);
  EXPECT_EQ(upstream_stats["urls"][0]["requests"], 1);
  EXPECT_EQ(upstream_stats["urls"][0]["received_bytes"], blob.bytes.size());

  const std::string metrics = ask("/metrics").body;
  for (const std::string& line :
       {std::string("entrepot_http_requests_total{cache=\"hit\",code=\"200\",kind=\"blob\"} 1"),
        std::string("entrepot_http_requests_total{cache=\"none\",code=\"400\",kind=\"blob\"} 1"),
        std::string("entrepot_upstream_requests_total{upstream=\"origin\"} 1"),
        std::string("entrepot_upstream_held_blobs{upstream=\"origin\"} 1"),
        std::string("entrepot_cache_blobs 1"), std::string("entrepot_fills_in_flight 0")}) {
    EXPECT_NE(metrics.find(line + "\n"), std::string::npos) << line << "\n" << metrics;
  }
}

TEST_F(AdminTest, CountsWhatTheLimitsTurnedAway) {
  EdgeConfig limited = config();
  limited.admin.address = "127.0.0.1:0";
  limited.admin.token = "the-token";
  limited.limits.request_rate_per_address = {.per_second = 0.001, .burst = 1};
  edge->reload(std::move(limited));
  ASSERT_EQ(get(blob.path).status, 200);
  ASSERT_EQ(get(blob.path).status, 429);
  // The administration has no such limit.
  const std::string metrics = ask("/metrics").body;
  EXPECT_NE(metrics.find("entrepot_http_limited_requests_total 1\n"), std::string::npos) << metrics;
  EXPECT_NE(metrics.find("entrepot_http_limited_connections_total 0\n"), std::string::npos);
  EXPECT_NE(metrics.find("entrepot_access_log_dropped_lines_total 0\n"), std::string::npos);
}

TEST_F(AdminTest, PurgesABlob) {
  EXPECT_EQ(purge(json{{"digest", blob.digest.str()}}.dump()).status, 404);
  store();
  const test::Fetched answer = purge(json{{"digest", blob.digest.str()}}.dump());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["bytes"], blob.bytes.size());
  EXPECT_EQ(edge->stats().blobs, 0U);
  ASSERT_EQ(get(blob.path).body, blob.bytes);
  EXPECT_EQ(upstream.count(blob.path), 2U);
}

TEST_F(AdminTest, RefusesWhatItDoesNotUnderstand) {
  store();
  const std::string good = json{{"digest", blob.digest.str()}}.dump();
  // What a page of another site could have a browser send.
  EXPECT_EQ(purge(good, "text/plain").status, 415);
  EXPECT_EQ(purge("{").status, 400);
  EXPECT_EQ(purge("[]").status, 400);
  EXPECT_EQ(purge("{}").status, 400);
  EXPECT_EQ(purge(R"({"digest":7})").status, 400);
  EXPECT_EQ(purge(R"({"digest":"sha256:7"})").status, 400);
  EXPECT_EQ(purge(std::string(5 << 20, ' ')).status, 413);
  EXPECT_EQ(ask("/purge").status, 404);
  EXPECT_EQ(edge->stats().blobs, 1U);
}

TEST_F(AdminTest, ParsesLongBodiesOnThePool) {
  std::atomic<int> on_a_loop = 0;
  std::atomic<int> on_the_pool = 0;
  const base::InjectedFault parsed("admin.parse", [&](std::string_view) {
    ++(base::EventLoop::current() != nullptr ? on_a_loop : on_the_pool);
    return 0;
  });
  EXPECT_EQ(purge(std::string(100'000, '[')).status, 400);
  EXPECT_EQ(on_the_pool, 1);
  EXPECT_EQ(on_a_loop, 0);
  EXPECT_EQ(purge("[").status, 400);
  EXPECT_EQ(on_a_loop, 1) << "which takes no time, and waits for no thread";
}

TEST_F(AdminTest, PageHasNothingFromElsewhere) {
  store();
  const test::Fetched page = ask("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.header("Content-Type"), "text/html; charset=utf-8");
  EXPECT_NE(page.header("Content-Security-Policy").find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.body.find("edge-1"), std::string::npos);
  EXPECT_EQ(page.body.find("<script"), std::string::npos);
  EXPECT_EQ(page.body.find("href"), std::string::npos);
}

TEST_F(AdminTest, CommandsHaveTheirExitCodes) {
  const auto token = directory.path() / "token";
  std::ofstream(token) << "the-token\n";
  CommandOptions options{.url = "http://127.0.0.1:" + std::to_string(edge->admin_port()),
                         .token_file = token,
                         .json = true};
  testing::internal::CaptureStdout();
  EXPECT_EQ(command_purge(options, {.digest = blob.digest.str()}), kExitNotHeld);
  store();
  EXPECT_EQ(command_stats(options), 0);
  EXPECT_EQ(command_top(options), 0);
  EXPECT_EQ(command_inspect(options, blob.digest.str()), 0);
  EXPECT_EQ(command_inspect(options, "sha256:abc"), 2);
  EXPECT_EQ(command_pin(options, blob.digest.str(), true), 0);
  EXPECT_EQ(command_purge(options, {}), 2);
  EXPECT_EQ(command_purge(options, {.repository = "app"}), 2) << "not known of blobs alone";
  EXPECT_EQ(command_purge(options, {.upstream = "nobody"}), kExitNotHeld);
  EXPECT_EQ(command_warm(options, {.images = {"app:none"}}), 1);
  EXPECT_EQ(command_warm(options, {.images = {"APP"}}), 2);
  EXPECT_EQ(command_purge(options, {.digest = blob.digest.str()}), 0);
  EXPECT_EQ(command_inspect(options, blob.digest.str()), kExitNotHeld);
  EXPECT_EQ(command_pin(options, blob.digest.str(), false), kExitNotHeld);
  std::ofstream(token) << "wrong\n";
  EXPECT_EQ(command_stats(options), 1);
  options.url = "http://127.0.0.1:1";
  EXPECT_EQ(command_stats(options), 1);
  options.url.clear();
  options.config = directory.path() / "missing.yml";
  EXPECT_EQ(command_stats(options), 2);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_NE(out.find("\"state\": \"held\""), std::string::npos) << out;
}

}  // namespace
}  // namespace proxy

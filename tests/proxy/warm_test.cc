// Warming: whole images by the administration, and how it is told.
#include <atomic>
#include <latch>
#include <sstream>
#include <thread>

#include "base/event_loop.h"
#include "base/fault_point.h"
#include "proxy/warm_progress.h"
#include "tests/proxy/admin_fixture.h"
#include "tests/support/log_capture.h"

namespace proxy {
namespace {

using nlohmann::json;

class WarmTest : public AdministeredTest {
 protected:
  // The lines of the answer.
  std::vector<json> warm(const json& what) {
    const test::Fetched answer = post("/warm", what.dump());
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.header("Content-Type"), "application/x-ndjson");
    std::vector<json> lines;
    std::istringstream in(answer.body);
    for (std::string line; std::getline(in, line);) {
      const json parsed = json::parse(line, nullptr, false);
      EXPECT_TRUE(parsed.is_object()) << line;
      if (parsed.value("event", "") != "progress") lines.push_back(parsed);
    }
    EXPECT_FALSE(lines.empty());
    return lines;
  }
  static json last(const std::vector<json>& lines) { return lines.back(); }
  static size_t count(const std::vector<json>& lines, const std::string& result) {
    return static_cast<size_t>(std::ranges::count_if(
        lines, [&](const json& line) { return line.value("result", "") == result; }));
  }

  TestImage one{1};
  TestImage two{20};  // no layer of the other
};

TEST_F(WarmTest, AnImageIsThereAfterwards) {
  serve_image(one, "1");
  start();
  const std::vector<json> lines = warm({{"image", "app:1"}});
  EXPECT_EQ(lines[0], (json{{"event", "image"},
                            {"image", "app:1"},
                            {"digest", one.digest()},
                            {"manifests", 1},
                            {"blobs", 3},
                            {"bytes", 6200}}));
  EXPECT_EQ(last(lines), (json{{"event", "end"},
                               {"images", 1},
                               {"failed_images", 0},
                               {"held", 0},
                               {"fetched", 3},
                               {"failed", 0},
                               {"bytes", 6200}}));
  EXPECT_TRUE(whole(one));
  // A client needs nobody else now.
  upstream.stop();
  EXPECT_EQ(get("/v2/app/manifests/1").body, one.manifest);
  EXPECT_EQ(get(TestBlob(one.layers[1]).path).body, one.layers[1]);
}

TEST_F(WarmTest, WhatIsHeldIsSkipped) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get(TestBlob(one.layers[0]).path).status, 200);
  wait_stored(1);
  const std::vector<json> lines = warm({{"image", "app@" + one.digest()}});
  EXPECT_EQ(last(lines)["held"], 1);
  EXPECT_EQ(last(lines)["fetched"], 2);
  EXPECT_EQ(last(lines)["bytes"], 3200);
  EXPECT_EQ(upstream.count(TestBlob(one.layers[0]).path), 1U);
}

TEST_F(WarmTest, OfAnIndexThePlatformsThatAreWanted) {
  serve_image(one);
  serve_image(two);
  serve_manifest(index_of({&one, &two}), "latest", oci::media_type::kOciIndex);
  start();
  const std::vector<json> some = warm({{"image", "app"}, {"platforms", {"linux/b"}}});
  EXPECT_EQ(some[0]["image"], "app:latest");
  EXPECT_EQ(some[0]["manifests"], 2);
  EXPECT_TRUE(whole(two));
  EXPECT_FALSE(held_bytes(one.config));
  EXPECT_EQ(last(warm({{"image", "app"}}))["held"], 3);
  EXPECT_TRUE(whole(one));
}

TEST_F(WarmTest, AllTagsOfARepository) {
  serve_image(one, "1");
  serve_image(two, "2");
  const std::string list = "/v2/app/tags/list";
  http::Headers headers;
  headers.set("Content-Type", "application/json");
  // The page that is asked for first has a next one.
  upstream.serve_blob(list, R"({"name":"app","tags":["2"]})", headers);
  headers.set("Link", "<" + list + "?last=1&n=1>; rel=\"next\"");
  upstream.script(list, {test::step::respond(200, headers, R"({"name":"app","tags":["1"]})")});
  start();
  const std::vector<json> lines = warm({{"image", "app"}, {"all_tags", true}});
  EXPECT_EQ(last(lines)["images"], 2);
  EXPECT_EQ(last(lines)["fetched"], 6);
  EXPECT_TRUE(whole(one));
  EXPECT_TRUE(whole(two));
}

TEST_F(WarmTest, AListOfTagsThatIsItsOwnNextPageHasAnEnd) {
  serve_image(one, "1");
  http::Headers headers;
  headers.set("Content-Type", "application/json");
  headers.set("Link", "</v2/app/tags/list?last=1&n=1>; rel=\"next\"");
  upstream.serve_blob("/v2/app/tags/list", R"({"name":"app","tags":["1"]})", headers);
  start();
  EXPECT_EQ(last(warm({{"image", "app"}, {"all_tags", true}}))["images"], 2);
}

TEST_F(WarmTest, ATagIsAskedForAnewWithinItsLifetime) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get("/v2/app/manifests/1").body, one.manifest);
  serve_image(two, "1");
  EXPECT_EQ(get("/v2/app/manifests/1").body, one.manifest);
  EXPECT_EQ(warm({{"image", "app:1"}})[0]["digest"], two.digest());
  EXPECT_EQ(get("/v2/app/manifests/1").body, two.manifest);
  // While the upstream is down, what is kept is the image.
  upstream.stop();
  EXPECT_EQ(last(warm({{"image", "app:1"}}))["held"], 3);
}

TEST_F(WarmTest, OneBlobThatFailsDoesNotStopTheRest) {
  serve_image(one, "1");
  upstream.script(TestBlob(one.layers[0]).path, {test::step::respond(404)});
  start();
  const std::vector<json> lines = warm({{"image", "app:1"}});
  EXPECT_EQ(count(lines, "failed"), 1U);
  EXPECT_EQ(count(lines, "fetched"), 2U);
  EXPECT_EQ(last(lines)["failed"], 1);
}

TEST_F(WarmTest, AnImageThatIsNotThereIsTold) {
  start();
  const std::vector<json> lines = warm({{"image", "app:none"}});
  EXPECT_NE(lines[0]["error"].get<std::string>().find("404"), std::string::npos) << lines[0];
  EXPECT_EQ(last(lines)["failed_images"], 1);
  const std::vector<json> all = warm({{"image", "app"}, {"all_tags", true}});
  EXPECT_TRUE(last(all).contains("error"));
}

TEST_F(WarmTest, AnIndexOfMoreManifestsThanAnImageHasIsNotBegun) {
  serve_image(one);
  std::string children = descriptor(oci::media_type::kOciManifest, one.manifest);
  for (int i = 0; i < 1000; ++i) {
    children += "," + descriptor(oci::media_type::kOciManifest, std::to_string(i));
  }
  serve_manifest(R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::kOciIndex) +
                     R"(","manifests":[)" + children + "]}",
                 "many", oci::media_type::kOciIndex);
  start();
  EXPECT_EQ(last(warm({{"image", "app:many"}}))["failed_images"], 1);
  EXPECT_EQ(upstream.requests().size(), 1U);
}

TEST_F(WarmTest, WorksForAnUpstreamOfBlobsAlone) {
  serve_image(one, "1");
  EdgeConfig blobs_only = config();
  blobs_only.upstreams[0].images = false;
  start(std::move(blobs_only));
  EXPECT_EQ(last(warm({{"image", "app:1"}}))["fetched"], 3);
  EXPECT_TRUE(whole(one));
  EXPECT_EQ(get("/v2/app/manifests/1").status, 404);
}

TEST_F(WarmTest, AFillOfAClientIsShared) {
  serve_image(one, "1");
  const std::string path = TestBlob(one.layers[0]).path;
  upstream.script(path, {test::step::send_upto(100), test::step::stall("half")});
  start();
  std::thread client([&] { EXPECT_EQ(get(path).body, one.layers[0]); });
  upstream.wait_stalled("half");
  std::thread operators([&] { EXPECT_EQ(last(warm({{"image", "app:1"}}))["fetched"], 3); });
  upstream.wait_for_requests(4);
  upstream.release("half");
  client.join();
  operators.join();
  EXPECT_EQ(upstream.count(path), 1U);
}

// It asks in the name of a repository that has it not.
TEST_F(WarmTest, AFillOfAnotherRepositoryThatFailsIsNoFailure) {
  serve_image(one, "1");
  const TestBlob elsewhere(one.layers[0], "other");
  upstream.script(elsewhere.path, {test::step::stall("no"), test::step::respond(403)});
  start();
  std::thread client([&] { EXPECT_EQ(get(elsewhere.path).status, 502); });
  upstream.wait_stalled("no");
  std::thread operators([&] { EXPECT_EQ(last(warm({{"image", "app:1"}}))["fetched"], 3); });
  upstream.wait_for_requests(4);
  upstream.release("no");
  client.join();
  operators.join();
}

TEST_F(WarmTest, LongManifestsAreParsedOnThePool) {
  serve_image(one);
  std::string padded = one.manifest;
  padded.insert(1, R"("annotations":{"long":")" + std::string(100'000, 'x') + "\"},");
  serve_manifest(padded, "long");
  std::atomic<int> on_a_loop = 0;
  std::atomic<int> on_the_pool = 0;
  const base::InjectedFault parsed("warmer.parse", [&](std::string_view) {
    ++(base::EventLoop::current() != nullptr ? on_a_loop : on_the_pool);
    return 0;
  });
  start();
  EXPECT_EQ(last(warm({{"image", "app:long"}}))["fetched"], 3);
  EXPECT_EQ(on_the_pool, 1);
  EXPECT_EQ(on_a_loop, 0);
}

// What was under way ends; of the rest nothing is begun, by an operator's request or a prefetch.
TEST_F(WarmTest, NothingMoreIsBegunOnceTheEdgeStops) {
  const TestImage many(40, 20);
  serve_image(many, "many");
  for (const std::string& layer : many.layers) {
    upstream.script(TestBlob(layer).path, {test::step::stall("hung")});
  }
  test::LogCapture log;
  const auto cancelled = [&] { return log.count(" could not be fetched"); };
  EdgeConfig eager = config();
  eager.upstreams[0].image.prefetch = true;
  eager.drain_timeout = {};
  start(eager);
  EXPECT_EQ(get("/v2/app/manifests/many").body, many.manifest);
  upstream.wait_stalled("hung", 4);
  stop();
  EXPECT_EQ(cancelled(), 4U);

  eager.upstreams[0].image.prefetch = false;
  start(eager);
  std::thread operators([&] {
    const std::vector<json> lines = warm({{"image", "app:many"}});
    EXPECT_EQ(count(lines, "failed"), 1U);
    EXPECT_EQ(last(lines)["failed"], 1);
  });
  upstream.wait_stalled("hung", 8);
  // Fills are cancelled once a client is to be reset.
  std::latch joined(1);
  const base::InjectedFault joins("blob.joined", [&](std::string_view) {
    joined.count_down();
    return 0;
  });
  std::thread client([&] { EXPECT_NE(get(TestBlob(many.layers[7]).path).status, 200); });
  joined.wait();
  edge->stop();
  operators.join();
  client.join();
  EXPECT_EQ(cancelled(), 8U);
}

TEST_F(WarmTest, TheEdgeStopsInTheMiddleOfIt) {
  serve_image(one, "1");
  for (const std::string& layer : one.layers) {
    upstream.script(TestBlob(layer).path, {test::step::send_upto(100), test::step::stall("half")});
  }
  EdgeConfig on_time = config();
  on_time.clock = &base::Clock::system();  // the drain has a limit
  start(std::move(on_time));
  std::thread operators([&] {
    test::FetchOptions options{.method = "POST", .body = R"({"image":"app:1"})"};
    options.headers.set("Authorization", "Bearer the-token");
    options.headers.set("Content-Type", "application/json");
    EXPECT_EQ(test::fetch(edge->admin_port(), "/warm", options).status, 200);
  });
  upstream.wait_stalled("half", 2);
  edge->stop();
  operators.join();
}

TEST_F(WarmTest, RefusesWhatItDoesNotUnderstand) {
  start();
  for (const json& what :
       {json{{"image", ""}}, json{{"image", 7}}, json::object(), json{{"image", "app:"}},
        json{{"image", "app:a b"}}, json{{"image", "app@sha256:1"}}, json{{"image", "APP"}},
        json{{"image", "other.example/app"}}, json{{"image", "app"}, {"upstream", "other"}},
        json{{"image", "app"}, {"platforms", {"linux"}}},
        json{{"image", "app:1"}, {"all_tags", true}}}) {
    EXPECT_EQ(post("/warm", what.dump()).status, 400) << what;
  }
}

TEST(WarmRequest, FindsTheUpstreamAsAnOperatorNamesIt) {
  const auto make = [](const std::string& name, const std::string& url) {
    UpstreamConfig config;
    config.name = name;
    config.urls = {url};
    return config;
  };
  UpstreamConfig hub = make("hub", "https://registry-1.docker.io");
  hub.namespaces = {"docker.io"};
  UpstreamConfig fedora = make("fedora", "https://registry.fedoraproject.org");
  fedora.prefix = "fedora";
  UpstreamConfig local = make("local", "http://localhost:5000");
  local.hosts = {"mirror.example"};
  const Routing routing({std::make_shared<Upstream>(hub), std::make_shared<Upstream>(fedora),
                         std::make_shared<Upstream>(local)});
  const auto where = [&](const std::string& image, const std::string& upstream = "") {
    const Routing::Destination to = find_repository(routing, image, upstream);
    return to.upstream->name() + " " + to.repository;
  };
  EXPECT_EQ(where("docker.io/library/redis"), "hub library/redis");
  EXPECT_EQ(where("registry.fedoraproject.org/f41/flatpak"), "fedora f41/flatpak");
  EXPECT_EQ(where("fedora/f41/flatpak"), "fedora f41/flatpak");
  EXPECT_EQ(where("localhost:5000/app"), "local app");
  EXPECT_EQ(where("mirror.example/app"), "local app");
  EXPECT_EQ(where("a/b", "hub"), "hub a/b");
  EXPECT_THROW(where("a/b"), http::StatusError);
  EXPECT_THROW(where("quay.io/b"), http::StatusError);

  const auto parsed = [&](const std::string& image) {
    const WarmRequest request = parse_warm_request({{"image", image}}, routing);
    return request.upstream->name() + " " + request.repository + " " +
           oci::to_string(*request.reference);
  };
  const std::string digest = oci::Digest::of(oci::Algorithm::sha256, "a").str();
  EXPECT_EQ(parsed("localhost:5000/app"), "local app latest");
  EXPECT_EQ(parsed("localhost:5000/app:1"), "local app 1");
  EXPECT_EQ(parsed("docker.io/app:1@" + digest), "hub app " + digest);
}

TEST(WarmProgress, LinesForAFile) {
  WarmProgress progress(/*terminal=*/false);
  const auto add = [&](const std::string& line) { return progress.add(json::parse(line)); };
  EXPECT_EQ(add(R"({"event":"image","image":"app:1","manifests":1,"blobs":2,"bytes":3000})").out,
            "app:1: 1 manifest, 3.00 kB in 2 blobs\n");
  EXPECT_EQ(add(R"({"event":"progress","blobs":0,"bytes":1000})").out, "");
  EXPECT_EQ(add(R"({"event":"blob","digest":"d","size":1000,"result":"held"})").out,
            "held    d 1.00 kB\n");
  const auto failed =
      add(R"({"event":"blob","digest":"e","size":2000,"result":"failed","error":"gone"})");
  EXPECT_EQ(failed.out, "");
  EXPECT_EQ(failed.error, "e failed: gone\n");
  EXPECT_FALSE(progress.good());
  EXPECT_EQ(add(R"({"event":"end","images":1,"failed_images":0,"held":1,"fetched":0,"failed":1,
                    "bytes":0})")
                .out,
            "1 image: 0 blobs fetched (0 B), 1 held already, 1 failed\n");
  EXPECT_FALSE(progress.good());
}

TEST(WarmProgress, ABarForATerminal) {
  WarmProgress progress(/*terminal=*/true);
  const auto add = [&](const std::string& line) { return progress.add(json::parse(line)).out; };
  const std::string began =
      add(R"({"event":"image","image":"app:1","manifests":1,"blobs":2,"bytes":4000})");
  EXPECT_TRUE(
      began.ends_with("\r\x1b[Kapp:1 [....................]   0 % of 4.00 kB, 0 of 2 blobs"))
      << began;
  EXPECT_EQ(add(R"({"event":"progress","blobs":0,"bytes":1000})"),
            "\r\x1b[Kapp:1 [#####...............]  25 % of 4.00 kB, 0 of 2 blobs");
  EXPECT_EQ(add(R"({"event":"blob","digest":"d","size":2000,"result":"fetched"})"),
            "\r\x1b[Kapp:1 [##########..........]  50 % of 4.00 kB, 1 of 2 blobs");
  EXPECT_EQ(add(R"({"event":"end","images":1,"held":0,"fetched":2,"failed":0,"bytes":4000})"),
            "\r\x1b[K1 image: 2 blobs fetched (4.00 kB), 0 held already, 0 failed\n");
  EXPECT_TRUE(progress.good());
}

}  // namespace
}  // namespace proxy

// What registries tell the edge by their events, and what it does then.
#include "tests/proxy/admin_fixture.h"

namespace proxy {
namespace {

using nlohmann::json;

constexpr const char* kEventsType = "application/vnd.docker.distribution.events.v1+json";

json event(const std::string& action, json target) {
  return {
      {"id", "1"}, {"action", action}, {"target", std::move(target)}, {"actor", json::object()}};
}

class AdminEventsTest : public AdministeredTest {
 protected:
  test::Fetched send(const std::vector<json>& events, const std::string& query = "") {
    return post("/events" + query, json{{"events", events}}.dump(), kEventsType);
  }
  json told(const std::vector<json>& events) {
    const test::Fetched answer = send(events);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body, nullptr, false);
  }
  json push(const TestImage& image, const std::string& tag) {
    return event("push", {{"mediaType", oci::media_type::kOciManifest},
                          {"digest", image.digest()},
                          {"repository", "app"},
                          {"tag", tag}});
  }
  void start_warming() {
    EdgeConfig warming = config();
    warming.admin.events.warm = true;
    start(std::move(warming));
  }

  TestImage one{1};
  TestImage two{20};  // no layer of the other
};

TEST_F(AdminEventsTest, APushWarms) {
  serve_image(one, "1");
  start_warming();
  const json answer = told({push(one, "1")});
  EXPECT_EQ(answer["accepted"], 1);
  EXPECT_EQ(answer["warming"], 1);
  wait_stored(4);
  EXPECT_TRUE(whole(one));
  upstream.stop();
  EXPECT_EQ(get("/v2/app/manifests/1").body, one.manifest);
}

TEST_F(AdminEventsTest, ATagThatMovedIsAskedForAnew) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get("/v2/app/manifests/1").body, one.manifest);
  serve_image(two, "1");
  ASSERT_EQ(get("/v2/app/manifests/1").body, one.manifest) << "within its lifetime";
  EXPECT_EQ(told({push(two, "1")})["warming"], 0);
  EXPECT_EQ(get("/v2/app/manifests/1").body, two.manifest);
}

TEST_F(AdminEventsTest, AnAnswerFromBeforeThePushIsNotRemembered) {
  const std::string tag = "/v2/app/manifests/1";
  serve_image(one, "1");
  upstream.script(tag, {test::step::stall("asked")});
  start();
  std::thread client([&] { EXPECT_EQ(get(tag).body, one.manifest); });
  upstream.wait_stalled("asked");
  told({push(two, "1")});
  upstream.release("asked");
  client.join();
  serve_image(two, "1");
  EXPECT_EQ(get(tag).body, two.manifest);
}

TEST_F(AdminEventsTest, ADeleteOfABlobOrManifestPurgesIt) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get("/v2/app/manifests/1").status, 200);
  const TestBlob layer(one.layers[0]);
  ASSERT_EQ(get(layer.path).status, 200);
  wait_stored(2);
  EXPECT_EQ(told({event("delete", {{"digest", layer.digest.str()}, {"repository", "app"}}),
                  event("delete", {{"digest", one.digest()}, {"repository", "app"}}),
                  // What is not held is no error.
                  event("delete", {{"digest", two.digest()}, {"repository", "app"}})})["purged"],
            2);
  EXPECT_EQ(edge->stats().blobs, 0U);
  upstream.stop();
  EXPECT_NE(get("/v2/app/manifests/1").status, 200);
}

TEST_F(AdminEventsTest, ADeleteOfATagForgetsItAlone) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get("/v2/app/manifests/1").status, 200);
  EXPECT_EQ(told({event("delete", {{"tag", "1"}, {"repository", "app"}})})["purged"], 0);
  upstream.stop();
  EXPECT_NE(get("/v2/app/manifests/1").status, 200);
  EXPECT_EQ(get("/v2/app/manifests/" + one.digest()).status, 200);
}

TEST_F(AdminEventsTest, ADeleteOfARepositoryPurgesIt) {
  serve_image(one, "1");
  start();
  ASSERT_EQ(get("/v2/app/manifests/1").status, 200);
  ASSERT_EQ(get(TestBlob(one.layers[0]).path).status, 200);
  wait_stored(2);
  EXPECT_EQ(told({event("delete", {{"repository", "app"}})})["purged"], 2);
}

TEST_F(AdminEventsTest, ABlobThatWasPushedIsNoLongerRememberedAsAbsent) {
  const TestBlob blob(random_bytes(5000));
  start();
  EXPECT_EQ(get(blob.path).status, 404);
  upstream.serve_blob(blob.path, blob.bytes);
  ASSERT_EQ(get(blob.path).status, 404) << "remembered";
  told({event("push", {{"mediaType", "application/octet-stream"},
                       {"digest", blob.digest.str()},
                       {"repository", "app"}})});
  EXPECT_EQ(get(blob.path).body, blob.bytes);
}

TEST_F(AdminEventsTest, WhatIsOfNoUseIsAcceptedAndIgnored) {
  start();
  const json answer =
      told({event("pull", {{"digest", one.digest()}, {"repository", "app"}}), json(7)});
  EXPECT_EQ(answer["accepted"], 0);
  EXPECT_EQ(answer["ignored"], 2);
}

TEST_F(AdminEventsTest, RefusesWhatIsNoEnvelopeAndWhoHasNoToken) {
  start();
  EXPECT_EQ(post("/events", "{\"events\":[", kEventsType).status, 400);
  EXPECT_EQ(post("/events", "{}", kEventsType).status, 400);
  EXPECT_EQ(post("/events", "{\"events\":[]}", "text/plain").status, 415);
  test::FetchOptions options{.method = "POST", .body = "{\"events\":[]}"};
  options.headers.set("Content-Type", kEventsType);
  EXPECT_EQ(test::fetch(edge->admin_port(), "/events", options).status, 401);
}

TEST_F(AdminEventsTest, TheirOwnTokenIsGoodForNothingElse) {
  EdgeConfig configured = config();
  configured.admin.events.token = "of-events";
  start(std::move(configured));
  test::FetchOptions options{.method = "POST", .body = "{\"events\":[]}"};
  options.headers.set("Content-Type", kEventsType);
  options.headers.set("Authorization", "Bearer of-events");
  EXPECT_EQ(test::fetch(edge->admin_port(), "/events", options).status, 200);
  options.method = "GET";
  for (const std::string path : {"/events", "/", "/stats", "/metrics", "/blobs/x"}) {
    EXPECT_EQ(test::fetch(edge->admin_port(), path, options).status, 401) << path;
  }
  options.method = "POST";
  for (const std::string path : {"/purge", "/pin", "/warm"}) {
    EXPECT_EQ(test::fetch(edge->admin_port(), path, options).status, 401) << path;
  }
  EXPECT_EQ(send({}).status, 200);  // the administration's is good for all
}

TEST_F(AdminEventsTest, WhoseTheyAreIsSaidByTheUrlOrTheConfiguration) {
  EdgeConfig both = config();
  both.upstreams.push_back(both.upstreams[0]);
  both.upstreams[1].name = "second";
  both.upstreams[1].prefix = "second";
  EdgeConfig named = both;
  start(std::move(both));
  EXPECT_EQ(send({}).status, 400);
  EXPECT_EQ(send({}, "?upstream=second").status, 200);
  EXPECT_EQ(send({}, "?upstream=third").status, 400);
  stop();
  named.admin.events.upstream = "second";
  start(std::move(named));
  EXPECT_EQ(send({}).status, 200);
}

TEST_F(AdminEventsTest, TheEdgeStopsWhileImagesWait) {
  serve_image(one, "1");
  serve_image(two, "2");
  upstream.script(TestBlob(one.layers[0]).path, {test::step::stall("layer")});
  start_warming();
  told({push(one, "1"), push(two, "2")});
  upstream.wait_stalled("layer");
  stop();
}

}  // namespace
}  // namespace proxy

// Purges of repositories and upstreams, pins, and what is told of a blob.
#include <latch>
#include <thread>

#include "tests/proxy/admin_fixture.h"

namespace proxy {
namespace {

using nlohmann::json;

class PurgeTest : public AdministeredTest {
 protected:
  void warm(const std::string& image) {
    const test::Fetched answer = post("/warm", json{{"image", image}}.dump());
    ASSERT_NE(answer.body.find("\"failed\":0"), std::string::npos) << answer.body;
    ASSERT_NE(answer.body.find("\"failed_images\":0"), std::string::npos) << answer.body;
  }
  // As serve_image, of another repository.
  void serve_there(const TestImage& image, const std::string& tag, const std::string& repository) {
    serve_manifest(image.manifest, tag, oci::media_type::kOciManifest, repository);
    upstream.serve_blob(TestBlob(image.config, repository).path, image.config);
    for (const std::string& layer : image.layers) {
      upstream.serve_blob(TestBlob(layer, repository).path, layer);
    }
  }
  json purge(const json& what) { return post_json("/purge", what); }
  int refused(const json& what) { return post("/purge", what.dump()).status; }

  TestImage one{1};
  TestImage two{20};  // no layer of the other
};

TEST_F(PurgeTest, ARepositoryWithWhatOnlyItsManifestsName) {
  serve_image(one, "1");
  serve_image(two, "2");
  serve_there(two, "x", "app/other");
  start();
  for (const char* image : {"app:1", "app:2", "app/other:x"}) warm(image);
  ASSERT_TRUE(whole(one) && whole(two));
  const json purged = purge({{"repository", "app"}});
  EXPECT_EQ(purged["purged"], 4) << "a manifest, a config, two layers";
  EXPECT_EQ(purged["bytes"], 6200 + one.manifest.size());
  EXPECT_EQ(purged["references"], 4) << "two tags and two digests";
  EXPECT_FALSE(held_bytes(one.manifest) || held_bytes(one.config) || held_bytes(one.layers[0]));
  EXPECT_TRUE(whole(two)) << "another repository's too";
  EXPECT_EQ(refused({{"repository", "app"}}), 404);

  EXPECT_EQ(purge({{"repository", "app/other"}, {"upstream", "origin"}})["purged"], 4);
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(PurgeTest, ChildrenOfAnIndexGoWithIt) {
  serve_image(one);
  serve_image(two);
  serve_manifest(index_of({&one, &two}), "latest", oci::media_type::kOciIndex);
  start();
  warm("app");
  EXPECT_EQ(purge({{"repository", "app"}})["purged"], 9);
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(PurgeTest, ABlobWhoseManifestIsNotKnownStays) {
  const TestBlob lone(random_bytes(5000, 9));
  upstream.serve_blob(lone.path, lone.bytes);
  serve_image(one, "1");
  start();
  warm("app:1");
  ASSERT_EQ(get(lone.path).status, 200);
  wait_stored(5);
  purge({{"repository", "app"}});
  EXPECT_TRUE(held(lone.digest.str()));
  // Of the upstream it is all the same.
  EXPECT_EQ(purge({{"upstream", "origin"}})["purged"], 1);
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(PurgeTest, WhatIsBeingFetchedIsNotKept) {
  constexpr uint64_t kSize = 16 << 20;  // more than the sockets take
  const TestBlob blob(random_bytes(kSize, 9));
  upstream.serve_blob(blob.path, blob.bytes);
  start();
  for (const json& what : {json{{"digest", blob.digest.str()}}, json{{"upstream", "origin"}}}) {
    upstream.script(blob.path, {test::step::send_upto(1 << 20), test::step::stall("half")});
    std::latch slow(1);
    std::thread client([&] {
      test::FetchOptions options;
      options.on_progress = [&](uint64_t) {
        slow.wait();
        return true;
      };
      EXPECT_TRUE(test::fetch(edge->port(), blob.path, options).body == blob.bytes);
    });
    while (inspect(blob.digest.str()).value("stored", 0) == 0) std::this_thread::yield();
    EXPECT_EQ(purge(what)["purged"], 1);
    upstream.release("half");
    while (inspect(blob.digest.str()).value("state", "") == "filling") std::this_thread::yield();
    EXPECT_FALSE(held(blob.digest.str()));
    EXPECT_EQ(edge->stats().blob_bytes + edge->stats().reserved_bytes, 0U);
    EXPECT_EQ(edge->stats().unlinked_bytes, kSize) << "which the client still reads";
    slow.count_down();
    client.join();
    while (edge->stats().unlinked_bytes > 0) std::this_thread::yield();
  }
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  wait_stored(1);
}

TEST_F(PurgeTest, WhatWasFetchedInPartGoesToo) {
  const TestBlob blob(random_bytes(5 << 20, 9));
  const auto fetch_in_part = [&] {
    upstream.serve_blob(blob.path, blob.bytes);
    upstream.script(blob.path, {test::step::send_upto(3 << 20), test::step::close()});
    EXPECT_FALSE(get(blob.path).complete);
    while (inspect(blob.digest.str()).value("state", "") != "partial") std::this_thread::yield();
  };
  const auto expect_gone = [&] {
    EXPECT_EQ(inspect(blob.digest.str()).value("state", ""), "");
    EXPECT_EQ(edge->stats().reserved_bytes, 0U);
    EXPECT_TRUE(std::filesystem::is_empty(directory.path() / "cache/incoming"));
  };
  EdgeConfig once = config();
  once.upstreams[0].rounds = 1;
  for (const json& what : {json{{"digest", blob.digest.str()}}, json{{"upstream", "origin"}}}) {
    for (const bool restart : {false, true}) {
      start(once);
      fetch_in_part();
      if (restart) {
        stop();
        start(once);
      }
      const json purged = purge(what);
      EXPECT_EQ(purged["purged"], 1) << what << restart;
      EXPECT_EQ(purged["bytes"], blob.bytes.size());
      expect_gone();
      EXPECT_EQ(refused(what), 404);
      stop();
    }
  }
}

TEST_F(PurgeTest, WhatIsBeingAskedIsNotRemembered) {
  const std::string tag = "/v2/app/manifests/1";
  serve_image(one, "1");
  start();
  int round = 0;
  for (const json& what : {json{{"repository", "app"}}, json{{"upstream", "origin"}},
                           json{{"digest", one.digest()}}}) {
    const std::string stall = "asked " + std::to_string(round++);
    upstream.script(tag, {test::step::stall(stall)});
    std::thread client([&] { EXPECT_EQ(get(tag).body, one.manifest); });
    upstream.wait_stalled(stall);
    const test::Fetched purged = post("/purge", what.dump());
    // Nobody knows yet that the tag leads to this digest.
    if (!what.contains("digest")) {
      EXPECT_EQ(json::parse(purged.body, nullptr, false)["references"], 1) << purged.body;
    }
    upstream.release(stall);
    client.join();
    EXPECT_EQ(edge->stats().blobs, 0U) << what;
    EXPECT_EQ(get(tag).header("Cache-Status"), "edge-1; fwd=uri-miss; stored") << what;
    EXPECT_EQ(get(tag).header("Cache-Status"), "edge-1; hit");
    EXPECT_EQ(purge({{"repository", "app"}})["references"], 2);
  }
}

TEST_F(PurgeTest, WhatIsBeingConfirmedIsNotRemembered) {
  const std::string tag = "/v2/app/manifests/1";
  serve_image(one, "1");
  start();
  get(tag);
  now += 60;
  upstream.script(tag, {test::step::stall("head")});
  std::thread client([&] { EXPECT_EQ(get(tag).body, one.manifest); });
  upstream.wait_stalled("head");
  EXPECT_EQ(purge({{"repository", "app"}})["references"], 3) << "a tag, a digest and a question";
  upstream.release("head");
  client.join();
  EXPECT_EQ(edge->stats().blobs, 0U);
  EXPECT_EQ(refused({{"repository", "app"}}), 404) << "there is nothing of it";
}

TEST_F(PurgeTest, AnUpstreamWithAllOfItsNames) {
  serve_image(one, "1");
  test::FakeUpstream second;
  const TestBlob lone(random_bytes(5000, 9));
  second.serve_blob(lone.path, lone.bytes);
  EdgeConfig both = config();
  both.upstreams.push_back(both.upstreams[0]);
  both.upstreams[1].name = "second";
  both.upstreams[1].urls = {second.url()};
  both.upstreams[1].prefix = "second";
  start(std::move(both));
  warm("app:1");
  ASSERT_EQ(get("/v2/second/app/blobs/" + lone.digest.str()).body, lone.bytes);
  wait_stored(5);
  const json purged = purge({{"upstream", "origin"}});
  EXPECT_EQ(purged["purged"], 4);
  EXPECT_EQ(purged["references"], 2);
  EXPECT_TRUE(held(lone.digest.str()));
  EXPECT_EQ(refused({{"upstream", "origin"}}), 404);
  EXPECT_EQ(refused({{"upstream", "nobody"}}), 404);
}

TEST_F(PurgeTest, ManyBlobs) {
  TestImage large(1, 150);
  serve_image(large, "1");
  start();
  warm("app:1");
  EXPECT_EQ(purge({{"repository", "app"}})["purged"], 152);
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(PurgeTest, OfAnUpstreamOfBlobsAloneRepositoriesAreNotKnown) {
  EdgeConfig blobs_only = config();
  blobs_only.upstreams[0].images = false;
  serve_image(one, "1");
  start(std::move(blobs_only));
  warm("app:1");
  const test::Fetched answer = post("/purge", R"({"repository":"app"})");
  EXPECT_EQ(answer.status, 409);
  EXPECT_NE(answer.body.find("images: false"), std::string::npos) << answer.body;
  EXPECT_TRUE(whole(one));
}

TEST_F(PurgeTest, TellsWhatABlobIsThereFor) {
  serve_image(one);
  serve_manifest(index_of({&one}), "latest", oci::media_type::kOciIndex);
  start();
  warm("app");
  const json layer = inspect(oci::Digest::of(oci::Algorithm::sha256, one.layers[0]).str());
  EXPECT_EQ(layer["upstream"], "origin");
  EXPECT_EQ(layer["size"], 3000);
  EXPECT_EQ(layer["pinned"], false);
  EXPECT_GT(layer["stored_at"], 1'000'000'000);
  EXPECT_GE(layer["last_used"], layer["stored_at"]);
  std::vector<std::string> paths;
  for (const json& name : layer["names"]) {
    EXPECT_EQ(name["upstream"], "origin");
    paths.push_back(name["path"]);
  }
  ASSERT_EQ(paths.size(), 3U) << "the image's digest, the index' digest and tag";
  EXPECT_EQ(paths.front(), "/v2/app/manifests/latest") << layer;
}

TEST_F(PurgeTest, APinIsKeptAndTakenOff) {
  serve_image(one, "1");
  start();
  const std::string digest = one.digest();
  EXPECT_EQ(post("/pin", json{{"digest", digest}, {"pinned", true}}.dump()).status, 404);
  warm("app:1");
  EXPECT_EQ(post_json("/pin", {{"digest", digest}, {"pinned", true}})["pinned"], true);
  EXPECT_EQ(inspect(digest)["pinned"], true);
  EXPECT_EQ(post_json("/pin", {{"digest", digest}, {"pinned", false}})["pinned"], false);
  EXPECT_EQ(inspect(digest)["pinned"], false);
  EXPECT_EQ(post("/pin", json{{"digest", digest}}.dump()).status, 400);
}

}  // namespace
}  // namespace proxy

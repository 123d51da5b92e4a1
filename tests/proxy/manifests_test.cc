// Manifests through the mirror: what is kept, for how long, and what is told of it.
#include <thread>

#include "cache/layout.h"
#include "cache/references.h"
#include "proxy/known_names.h"
#include "tests/proxy/mirror_fixture.h"
#include "tests/support/raw_client.h"

namespace proxy {
namespace {

const std::string kLatest = "/v2/app/manifests/latest";

class ManifestsTest : public MirrorTest {
 protected:
  std::string by_digest(const TestImage& image) { return "/v2/app/manifests/" + image.digest(); }

  TestImage one{1};
  TestImage two{2};
};

TEST_F(ManifestsTest, ByDigestItIsFetchedOnceAndNeverAskedAbout) {
  serve_manifest(one.manifest);
  start();
  const test::Fetched cold = get(by_digest(one));
  EXPECT_EQ(cold.status, 200);
  EXPECT_EQ(cold.body, one.manifest);
  EXPECT_EQ(cold.header("Cache-Status"), "edge-1; fwd=uri-miss; stored");
  now += 100L * 365 * 86400;
  const test::Fetched warm = get(by_digest(one));
  EXPECT_EQ(warm.body, one.manifest);
  EXPECT_EQ(warm.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(warm.header("Age"), std::to_string(100L * 365 * 86400));
  EXPECT_EQ(asked(by_digest(one)), "1 0");
}

TEST_F(ManifestsTest, AreFoundWhereSmallBlobsAreKept) {
  serve_manifest(one.manifest, "latest");
  EdgeConfig inside = config();
  inside.cache.inline_limit = cache::kInlineLimit;
  start(std::move(inside));
  for (const char* status : {"edge-1; fwd=uri-miss; stored", "edge-1; hit"}) {
    const test::Fetched answer = get(kLatest);
    EXPECT_EQ(answer.body, one.manifest);
    EXPECT_EQ(answer.header("Cache-Status"), status);
  }
}

TEST_F(ManifestsTest, HeadersAreWhatClientsNeed) {
  serve_manifest(one.manifest, "latest");
  start();
  for (int round = 0; round < 2; ++round) {
    for (const std::string& path : {kLatest, by_digest(one)}) {
      for (const test::Fetched& answer : {get(path), head(path)}) {
        EXPECT_EQ(answer.header("Content-Type"), oci::media_type::kOciManifest);
        EXPECT_EQ(answer.header("Content-Length"), std::to_string(one.manifest.size()));
        EXPECT_EQ(answer.header("Docker-Content-Digest"), one.digest());
        EXPECT_EQ(answer.header("ETag"), quoted(one.digest()));
        EXPECT_EQ(answer.header("Via"), "1.1 edge-1");
        EXPECT_EQ(answer.header("Warning"), "");
        EXPECT_EQ(answer.header("Cache-Control"),
                  path == kLatest ? "no-cache" : "public, max-age=31536000, immutable");
      }
    }
  }
  EXPECT_EQ(get_with(kLatest, "If-None-Match", quoted(one.digest())).status, 304);
}

TEST_F(ManifestsTest, TheStoredManifestIsGivenWhateverIsAccepted) {
  serve_manifest(one.manifest, "latest");
  start();
  EXPECT_EQ(
      get_with(kLatest, "Accept", "application/vnd.docker.distribution.manifest.v2+json").body,
      one.manifest);
  const auto seen = upstream.requests();
  ASSERT_EQ(seen.size(), 1U);
  for (const std::string_view type :
       {oci::media_type::kOciIndex, oci::media_type::kOciManifest, oci::media_type::kDockerList,
        oci::media_type::kDockerManifest}) {
    EXPECT_TRUE(seen[0].headers.has_token("Accept", type)) << type;
  }
  EXPECT_FALSE(seen[0].headers.has("If-None-Match"));
}

TEST_F(ManifestsTest, Sha512) {
  const std::string digest = oci::Digest::of(oci::Algorithm::sha512, one.manifest).str();
  const std::string path = "/v2/app/manifests/" + digest;
  http::Headers headers;
  headers.set("Docker-Content-Digest", digest);
  upstream.serve_blob(path, one.manifest, headers);
  upstream.serve_blob(kLatest, one.manifest, headers);
  start();
  EXPECT_EQ(get(path).header("Docker-Content-Digest"), digest);
  EXPECT_EQ(get(kLatest).header("Docker-Content-Digest"), digest);
  EXPECT_EQ(get(path).header("Cache-Status"), "edge-1; hit");
}

// ---- lifetimes ------------------------------------------------------------------------------

TEST_F(ManifestsTest, TagIsAskedAboutByHeadOnceItsLifetimeIsOver) {
  serve_manifest(one.manifest, "latest");
  start();
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; fwd=uri-miss; stored");
  now += 59;
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(get(kLatest).header("Age"), "59");
  EXPECT_EQ(asked(kLatest), "1 0");
  now += 1;
  const test::Fetched asked_again = get(kLatest);
  EXPECT_EQ(asked_again.body, one.manifest);
  EXPECT_EQ(asked_again.header("Cache-Status"), "edge-1; fwd=stale; fwd-status=304");
  EXPECT_EQ(asked_again.header("Age"), "0");
  EXPECT_EQ(asked(kLatest), "1 1");
  now += 59;
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(asked(kLatest), "1 1");
}

TEST_F(ManifestsTest, MovedTagIsFollowedAndTheOldDigestStays) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  serve_manifest(two.manifest, "latest");
  EXPECT_EQ(get(kLatest).body, one.manifest);
  now += 60;
  EXPECT_EQ(get(kLatest).body, two.manifest);
  EXPECT_EQ(asked(kLatest), "2 1");
  EXPECT_EQ(get(by_digest(one)).body, one.manifest);
  EXPECT_EQ(get(by_digest(two)).body, two.manifest);
  EXPECT_EQ(upstream.requests().size(), 3U);
}

TEST_F(ManifestsTest, TagThatMovesToAKnownManifestCostsNoGet) {
  serve_manifest(one.manifest, "latest");
  serve_manifest(two.manifest, "next");
  start();
  get(kLatest);
  get(by_digest(two));
  serve_manifest(two.manifest, "latest");
  now += 60;
  EXPECT_EQ(get(kLatest).body, two.manifest);
  EXPECT_EQ(asked(kLatest), "1 1");
}

TEST_F(ManifestsTest, WithoutADigestInHeadTheETagDecides) {
  http::Headers headers;
  headers.set("ETag", "\"v1\"");
  upstream.serve_blob(kLatest, one.manifest, headers);
  start();
  EXPECT_EQ(get(kLatest).header("Docker-Content-Digest"), one.digest());
  now += 60;
  upstream.script(kLatest, {test::step::expect_method("HEAD")});
  upstream.script(kLatest,
                  {test::step::expect_header("If-None-Match", "\"v1\""), test::step::respond(304)});
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; fwd=stale; fwd-status=304");
  now += 60;
  upstream.script(kLatest, {test::step::respond(405)});  // HEAD is not known there
  upstream.serve_blob(kLatest, two.manifest, headers);
  EXPECT_EQ(get(kLatest).body, two.manifest);
  EXPECT_EQ(asked(kLatest), "3 2");
}

TEST_F(ManifestsTest, LifetimeOfNothingAsksEveryTime) {
  EdgeConfig eager = config();
  eager.upstreams[0].image.tag_lifetime = base::Duration(0);
  serve_manifest(one.manifest, "latest");
  start(std::move(eager));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(get(kLatest).body, one.manifest);
  EXPECT_EQ(asked(kLatest), "1 2");
}

TEST_F(ManifestsTest, WhatIsKeptSurvivesARestart) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  now += 30;
  stop();
  start();
  const test::Fetched answer = get(kLatest);
  EXPECT_EQ(answer.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(answer.header("Age"), "30");
  EXPECT_EQ(get(by_digest(one)).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(upstream.requests().size(), 1U);
}

TEST_F(ManifestsTest, AWallClockThatIsPutBackMeansThatNobodyKnows) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  now -= 3600;
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; fwd=stale; fwd-status=304");
  EXPECT_EQ(asked(kLatest), "1 1");
}

TEST_F(ManifestsTest, EvictedBytesAreFetchedAgain) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  stop();
  {
    cache::BlobStore store({.root = directory.path() / "cache", .capacity = 1ULL << 30});
    EXPECT_TRUE(store.remove(*oci::Digest::parse(one.digest())));
  }
  start();
  EXPECT_EQ(get(kLatest).body, one.manifest);
  EXPECT_EQ(get(by_digest(one)).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(asked(kLatest), "2 0");
}

// ---- an upstream without a word -------------------------------------------------------------

TEST_F(ManifestsTest, StaleWhileTheUpstreamIsDownForAsLongAsAllowed) {
  EdgeConfig brief = config();
  brief.upstreams[0].image.stale_if_error = std::chrono::hours(1);
  serve_manifest(one.manifest, "latest");
  start(std::move(brief));
  get(kLatest);
  upstream.stop();
  now += 60 + 3599;
  const test::Fetched answer = get(kLatest);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, one.manifest);
  EXPECT_EQ(answer.header("Age"), "3659");
  EXPECT_EQ(answer.header("Cache-Status"),
            "edge-1; fwd=stale; detail=\"the upstream does not answer\"");
  EXPECT_EQ(answer.headers.joined("Warning"),
            "110 - \"Response is Stale\", 299 - \"the upstream does not answer; this is what it "
            "said 3659 s ago\"");
  now += 1;
  expect_error(get(kLatest), 502, "UNAVAILABLE");
  EXPECT_EQ(get(by_digest(one)).body, one.manifest);
  upstream.start();
  EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; fwd=stale; fwd-status=304");
}

TEST_F(ManifestsTest, StaleWhileTheUpstreamSaysTooManyRequests) {
  EdgeConfig brief = config();
  brief.upstreams[0].image.stale_if_error = std::chrono::hours(1);
  serve_manifest(one.manifest, "latest");
  start(std::move(brief));
  get(kLatest);
  http::Headers wait;
  wait.set("Retry-After", "17");
  now += 60;
  upstream.script(kLatest, {test::step::respond(429, wait)});
  const test::Fetched stale = get(kLatest);
  EXPECT_EQ(stale.body, one.manifest);
  EXPECT_TRUE(stale.headers.joined("Warning").find("limits this cache's requests") !=
              std::string::npos);
  now += 3600;
  upstream.script(kLatest, {test::step::respond(429, wait)});
  const test::Fetched refused = get(kLatest);
  expect_error(refused, 429, "TOOMANYREQUESTS");
  EXPECT_EQ(refused.header("Retry-After"), "17");
}

TEST_F(ManifestsTest, StaleWhenTheUpstreamIsSlowAndTheQuestionGoesOn) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  now += 60;
  serve_manifest(two.manifest, "latest");
  upstream.script(kLatest, {test::step::stall("slow")});
  std::thread patient([&] {
    const test::Fetched answer = get(kLatest);
    EXPECT_EQ(answer.body, one.manifest);
    EXPECT_EQ(answer.header("Cache-Status"), "edge-1; fwd=stale; detail=\"the upstream is slow\"");
  });
  upstream.wait_stalled("slow");
  clock.advance(std::chrono::seconds(5));
  patient.join();
  // Who comes later does not wait for it again.
  EXPECT_EQ(get(kLatest).body, one.manifest);
  upstream.release("slow");
  upstream.wait_complete(3);
  while (get(kLatest).body != two.manifest) std::this_thread::yield();
  EXPECT_EQ(asked(kLatest), "2 1");
}

TEST_F(ManifestsTest, WithNoPatienceTheOlderAnswerIsGivenAtOnce) {
  EdgeConfig hasty = config();
  hasty.upstreams[0].image.stale_after = base::Duration(0);
  serve_manifest(one.manifest, "latest");
  start(std::move(hasty));
  get(kLatest);
  serve_manifest(two.manifest, "latest");
  now += 60;
  upstream.script(kLatest, {test::step::stall("asked")});
  EXPECT_EQ(get(kLatest).body, one.manifest);
  upstream.wait_stalled("asked");
  upstream.release("asked");
  while (get(kLatest).body != two.manifest) std::this_thread::yield();
  EXPECT_EQ(asked(kLatest), "2 1");
}

TEST_F(ManifestsTest, NothingIsStaleWhereThatIsNotAllowed) {
  EdgeConfig strict = config();
  strict.upstreams[0].image.stale_if_error = base::Duration(0);
  serve_manifest(one.manifest, "latest");
  start(std::move(strict));
  get(kLatest);
  now += 60;
  upstream.script(kLatest, {test::step::respond(500)});
  expect_error(get(kLatest), 502, "UNAVAILABLE");
  EXPECT_EQ(get(kLatest).body, one.manifest);
}

TEST_F(ManifestsTest, AStopDoesNotWaitForAnUpstreamThatIsSilent) {
  EdgeConfig quick = config();
  quick.drain_timeout = base::Duration(0);
  serve_manifest(one.manifest, "latest");
  start(std::move(quick));
  upstream.script(kLatest, {test::step::stall("never")});
  std::thread client([&] { EXPECT_NE(get(kLatest).status, 200); });
  upstream.wait_stalled("never");
  edge->stop();
  client.join();
}

TEST_F(ManifestsTest, DeletionIsFollowedAndTheDigestStays) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  now += 60;
  upstream.script(kLatest, {test::step::respond(404)});
  expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
  EXPECT_EQ(get(by_digest(one)).header("Cache-Status"), "edge-1; hit");
  upstream.stop();
  clock.advance(UpstreamConfig().absent_lifetime);
  expect_error(get(kLatest), 502, "UNAVAILABLE");  // forgotten: not even stale
}

TEST_F(ManifestsTest, DeletionIsNotFollowedIfSoConfigured) {
  EdgeConfig keeping = config();
  keeping.upstreams[0].image.follow_deletions = false;
  serve_manifest(one.manifest, "latest");
  start(std::move(keeping));
  get(kLatest);
  now += 60;
  upstream.script(kLatest, {test::step::respond(404)});
  const test::Fetched answer = get(kLatest);
  EXPECT_EQ(answer.body, one.manifest);
  EXPECT_EQ(answer.header("Cache-Status"),
            "edge-1; fwd=stale; detail=\"the upstream has it no longer\"");
}

TEST_F(ManifestsTest, WhatIsNotThereIsAskedForOnceInAWhile) {
  start();
  expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
  serve_manifest(one.manifest, "latest");
  expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
  EXPECT_EQ(head(kLatest).status, 404);
  EXPECT_EQ(asked(kLatest), "1 0");
  clock.advance(UpstreamConfig().absent_lifetime);
  EXPECT_EQ(get(kLatest).body, one.manifest);
}

TEST_F(ManifestsTest, WhatTheUpstreamRefusesIsNotThere) {
  serve_manifest(one.manifest, "latest");
  start();
  for (const int status : {401, 403}) {
    upstream.script(kLatest, {test::step::respond(status)});
    expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
    clock.advance(UpstreamConfig().absent_lifetime);
  }
  get(kLatest);
  now += 60;
  upstream.script(kLatest, {test::step::respond(401)});
  expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
  clock.advance(UpstreamConfig().absent_lifetime);
  EXPECT_EQ(get(kLatest).status, 200);  // refused is not gone
}

TEST_F(ManifestsTest, WhatIsRefusedIsAskedForOnceInAWhile) {
  serve_manifest(one.manifest, "latest");
  start();
  for (const bool known : {false, true}) {
    const std::string before = asked(kLatest);
    upstream.script(kLatest, {test::step::respond(403)});
    expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
    const std::string after = asked(kLatest);
    EXPECT_NE(after, before);
    expect_error(get(kLatest), 404, "MANIFEST_UNKNOWN");
    EXPECT_EQ(head(kLatest).status, 404);
    EXPECT_EQ(asked(kLatest), after) << known;
    // It may have been refused for the way that the others came.
    EXPECT_EQ(get_with(kLatest, "CDN-Loop", "edge-2").body, one.manifest);
    now += 60;
    clock.advance(UpstreamConfig().absent_lifetime);
  }
}

// ---- answers that are none ------------------------------------------------------------------

TEST_F(ManifestsTest, WrongBytesAreRefusedAndNothingIsKept) {
  serve_manifest(one.manifest, "latest");
  start();
  upstream.script(by_digest(one), {test::step::corrupt(20)});
  expect_error(get(by_digest(one)), 502, "UNAVAILABLE");
  upstream.script(kLatest, {test::step::corrupt(20)});
  expect_error(get(kLatest), 502, "UNAVAILABLE");
  EXPECT_EQ(edge->stats().blobs, 0U);
  EXPECT_EQ(get(by_digest(one)).body, one.manifest);
  EXPECT_EQ(get(kLatest).body, one.manifest);
}

TEST_F(ManifestsTest, WrongBytesAreNoNewMeaningOfATag) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  serve_manifest(two.manifest, "latest");
  now += 60;
  upstream.script(kLatest, {});
  upstream.script(kLatest, {test::step::corrupt(20)});
  const test::Fetched answer = get(kLatest);
  EXPECT_EQ(answer.body, one.manifest);
  EXPECT_EQ(answer.header("Cache-Status"),
            "edge-1; fwd=stale; detail=\"the upstream's answer does not match its digest\"");
}

TEST_F(ManifestsTest, AnswersThatAreNoManifestsAreNotKept) {
  const std::string page = "<html>Sign in to the hotel's network</html>";
  http::Headers html;
  html.set("Content-Type", "text/html; charset=utf-8");
  http::Headers json;
  json.set("Content-Type", std::string(oci::media_type::kOciManifest));
  http::Headers packed = json;
  packed.set("Content-Encoding", "gzip");
  start();
  const std::vector<std::pair<http::Headers, std::string>> answers = {
      {html, page}, {json, page},           {json, ""},
      {json, "{}"}, {packed, one.manifest}, {json, std::string((4 << 20) + 1, ' ')}};
  for (const auto& [headers, body] : answers) {
    upstream.script(kLatest, {test::step::respond(200, headers, body)});
    expect_error(get(kLatest), 502, "UNAVAILABLE");
    upstream.script(by_digest(one), {test::step::respond(200, headers, body)});
    expect_error(get(by_digest(one)), 502, "UNAVAILABLE");
  }
  EXPECT_EQ(edge->stats().blobs, 0U);
}

TEST_F(ManifestsTest, TheTypeIsWhatTheManifestSaysAndElseWhatTheUpstreamSaid) {
  serve_manifest(one.manifest, "latest", "application/json");
  const std::string strange = R"({"hello":"world"})";
  const std::string path =
      "/v2/app/manifests/" + oci::Digest::of(oci::Algorithm::sha256, strange).str();
  http::Headers headers;
  headers.set("Content-Type", "application/vnd.example+json; charset=utf-8");
  upstream.serve_blob(path, strange, headers);
  start();
  EXPECT_EQ(get(kLatest).header("Content-Type"), oci::media_type::kOciManifest);
  EXPECT_EQ(get(path).header("Content-Type"), "application/vnd.example+json");
}

// ---- many clients, HEAD, routes -------------------------------------------------------------

TEST_F(ManifestsTest, ManyClientsAskTheUpstreamOnce) {
  serve_manifest(one.manifest, "latest");
  start();
  for (int round = 0; round < 2; ++round) {
    upstream.script(kLatest, {test::step::stall("asked")});
    std::vector<std::thread> clients;
    std::atomic<int> right = 0;
    for (int i = 0; i < 50; ++i) {
      clients.emplace_back([&] { right += get(kLatest).body == one.manifest ? 1 : 0; });
    }
    upstream.release("asked");
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(right, 50);
    EXPECT_EQ(asked(kLatest), round == 0 ? "1 0" : "1 1");
    now += 60;
  }
}

TEST_F(ManifestsTest, HeadOfATagMeansThatTheDigestIsHere) {
  serve_manifest(one.manifest, "latest");
  start();
  const test::Fetched answer = head(kLatest);
  EXPECT_EQ(answer.status, 200);
  upstream.stop();
  const std::string digest = answer.header("Docker-Content-Digest");
  EXPECT_EQ(get("/v2/app/manifests/" + digest).body, one.manifest);
}

TEST_F(ManifestsTest, HeadOfATagWhoseManifestCannotBeHadIsNo200) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  serve_manifest(two.manifest, "latest");
  now += 60;
  upstream.script(kLatest, {});  // HEAD tells of the new one
  upstream.script(kLatest, {test::step::respond(500)});
  EXPECT_EQ(head(kLatest).header("Docker-Content-Digest"), one.digest());
}

TEST_F(ManifestsTest, RoutesAndNamespaces) {
  EdgeConfig several = config();
  several.upstreams[0].namespaces = {"docker.io"};
  several.upstreams[0].prefix = "hub";
  serve_manifest(one.manifest, "latest");
  start(std::move(several));
  const test::Fetched by_ns = get(kLatest + "?ns=docker.io");
  EXPECT_EQ(by_ns.body, one.manifest);
  EXPECT_EQ(by_ns.header("OCI-Namespace"), "docker.io");
  EXPECT_EQ(get("/v2/hub/app/manifests/latest").body, one.manifest);
  EXPECT_EQ(get("/v2/hub/app/manifests/latest").header("OCI-Namespace"), "");
  EXPECT_EQ(upstream.requests().size(), 1U);
  EXPECT_EQ(upstream.requests()[0].target, kLatest);  // without ns

  expect_error(get(kLatest + "?ns=evil.example"), 404, "NAME_UNKNOWN");
  expect_error(get(kLatest), 404, "NAME_UNKNOWN");
  const std::string referrers = "/v2/app/referrers/" + one.digest();
  expect_error(get(referrers + "?ns=evil.example"), 404, "MANIFEST_UNKNOWN");
  expect_error(get("/v2/app/tags/list?ns=evil.example"), 404, "NAME_UNKNOWN");
  const test::Fetched missing = get("/v2/app/manifests/none?ns=docker.io");
  expect_error(missing, 404, "MANIFEST_UNKNOWN");
  EXPECT_EQ(missing.header("OCI-Namespace"), "docker.io");
  const TestBlob layer(one.layers[0]);
  upstream.serve_blob(layer.path, layer.bytes);
  EXPECT_EQ(get(layer.path + "?ns=docker.io").header("OCI-Namespace"), "docker.io");
}

TEST_F(ManifestsTest, TheHostChoosesTheUpstream) {
  EdgeConfig several = config();
  several.upstreams[0].hosts = {"localhost", "127.0.0.1"};
  UpstreamConfig& other = several.upstreams.emplace_back(several.upstreams[0]);
  other.name = "other";
  other.hosts = {"other.example"};
  other.urls = {"http://127.0.0.1:1"};
  serve_manifest(one.manifest, "latest");
  start(std::move(several));
  EXPECT_EQ(get(kLatest).body, one.manifest);
}

TEST_F(ManifestsTest, WhereTheRequestHasPassedIsToldToTheUpstream) {
  serve_manifest(one.manifest, "latest");
  start();
  get_with(kLatest, "CDN-Loop", "other-edge");
  now += 60;
  get_with(kLatest, "CDN-Loop", "third-edge");
  get_with("/v2/app/tags/list", "CDN-Loop", "other-edge");
  ASSERT_EQ(upstream.requests().size(), 3U);
  EXPECT_EQ(upstream.requests()[0].headers.joined("CDN-Loop"), "other-edge, edge-1");
  EXPECT_EQ(upstream.requests()[1].headers.joined("CDN-Loop"), "third-edge, edge-1");
  EXPECT_EQ(upstream.requests()[2].headers.joined("CDN-Loop"), "other-edge, edge-1");
  EXPECT_EQ(get_with(by_digest(two), "CDN-Loop", "edge-1").status, 508);
}

TEST_F(ManifestsTest, ManifestsInFilesAndInTheIndex) {
  for (const uint64_t limit : {uint64_t{0}, cache::kInlineLimit}) {
    EdgeConfig with_limit = config();
    with_limit.cache.root = directory.path() / std::to_string(limit);
    with_limit.cache.inline_limit = limit;
    serve_manifest(one.manifest, "latest");
    start(std::move(with_limit));
    EXPECT_EQ(get(kLatest).body, one.manifest);
    EXPECT_EQ(get(kLatest).header("Cache-Status"), "edge-1; hit");
    EXPECT_EQ(get(by_digest(one)).header("Cache-Status"), "edge-1; hit");
    stop();
  }
  EXPECT_EQ(upstream.requests().size(), 2U);
}

TEST_F(ManifestsTest, RepositoriesDoNotShareManifests) {
  serve_manifest(one.manifest, "latest");
  start();
  get(kLatest);
  expect_error(get("/v2/other/manifests/" + one.digest()), 404, "MANIFEST_UNKNOWN");
}

TEST_F(ManifestsTest, AreKnownAgainWhenTheCacheComesBack) {
  const TestImage image(61);
  serve_image(image, "v1");
  start();
  EXPECT_EQ(get("/v2/app/manifests/v1").body, image.manifest);
  test::RawClient client(edge->port());
  EXPECT_EQ(client.get("/v2/").status, 200);
  edge->release();
  EXPECT_EQ(client.get("/v2/app/manifests/v1").body, image.manifest);
  edge->resume();
  EXPECT_EQ(get("/v2/app/manifests/v1").header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(asked("/v2/app/manifests/v1"), "2 0");
}

TEST_F(ManifestsTest, BadReferencesAndMethods) {
  start();
  expect_error(get("/v2/app/manifests/sha256:short"), 400, "DIGEST_INVALID");
  expect_error(get("/v2/app/manifests/-bad"), 404, "MANIFEST_UNKNOWN");
  expect_error(test::fetch(edge->port(), kLatest, {.method = "PUT"}), 405, "UNSUPPORTED");
  expect_error(test::fetch(edge->port(), kLatest, {.method = "DELETE"}), 405, "UNSUPPORTED");
  EXPECT_EQ(upstream.requests().size(), 0U);
}

TEST_F(ManifestsTest, UpstreamOfBlobsAloneHasNoImages) {
  EdgeConfig blobs = config();
  blobs.upstreams[0].images = false;
  start(std::move(blobs));
  expect_error(get(kLatest), 404, "NAME_UNKNOWN");
  expect_error(get("/v2/app/tags/list"), 404, "NAME_UNKNOWN");
  expect_error(get("/v2/app/referrers/" + one.digest()), 404, "MANIFEST_UNKNOWN");
  EXPECT_EQ(upstream.requests().size(), 0U);
}

TEST_F(ManifestsTest, AWholeImagePulledOncePullsAgainWithTheUpstreamDead) {
  serve_image(one, "latest");
  start();
  const auto pull = [&] {
    const std::string digest = head(kLatest).header("Docker-Content-Digest");
    EXPECT_EQ(get("/v2/app/manifests/" + digest).body, one.manifest);
    EXPECT_EQ(get(TestBlob(one.config).path).body, one.config);
    for (const std::string& layer : one.layers) EXPECT_EQ(get(TestBlob(layer).path).body, layer);
  };
  pull();
  wait_stored(2 + one.layers.size());
  upstream.stop();
  now += 3600;
  pull();
  stop();
  start();
  pull();
}

// Clients that have the manifest ask for no more than its tag's head.
TEST_F(ManifestsTest, AUseOfATagIsOneOfItsDigest) {
  EdgeConfig lasting = config();
  lasting.upstreams[0].image.tag_lifetime = std::chrono::hours(24);
  serve_manifest(one.manifest, "latest");
  serve_manifest(two.manifest, "other");
  start(std::move(lasting));
  get(kLatest);
  now += 10;
  get("/v2/app/manifests/other");
  now += 2 * 3600;
  EXPECT_EQ(head(kLatest).header("Cache-Status"), "edge-1; hit");
  stop();
  cache::References full(cache::Layout(directory.path() / "cache").references(), facts_of, 4);
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, "new");
  for (const char* tag : {"new", "newer"}) {
    full.put("origin /v2/app/manifests/" + std::string(tag), {digest, "", now, {}});
  }
  EXPECT_TRUE(full.find("origin " + by_digest(one)));
  EXPECT_FALSE(full.find("origin " + by_digest(two))) << "which nobody asked for since";
}

// ---- prefetch -------------------------------------------------------------------------------

TEST_F(ManifestsTest, WhatAManifestNeedsIsPrefetched) {
  EdgeConfig eager = config();
  eager.upstreams[0].image.prefetch = true;
  serve_image(one, "latest");
  start(std::move(eager));
  EXPECT_EQ(head(kLatest).status, 200);
  EXPECT_EQ(get(kLatest).status, 200);
  wait_stored(2 + one.layers.size());
  upstream.stop();
  for (const std::string& layer : one.layers) {
    EXPECT_EQ(get(TestBlob(layer).path).header("Cache-Status"), "edge-1; hit");
  }
}

// A client of another repository, which has it not, asks for one of the layers at the same time.
TEST_F(ManifestsTest, APrefetchAsksAgainInItsOwnName) {
  const TestBlob layer(one.layers[1]);
  const TestBlob elsewhere(one.layers[1], "other");
  upstream.script(elsewhere.path, {test::step::stall("no"), test::step::respond(404)});
  EdgeConfig eager = config();
  eager.upstreams[0].image.prefetch = true;
  serve_image(one, "latest");
  start(std::move(eager));
  std::thread client([&] { EXPECT_EQ(get(elsewhere.path).status, 404); });
  upstream.wait_stalled("no");
  EXPECT_EQ(get(kLatest).status, 200);
  wait_stored(3);  // the manifest, the config and the other layer, all begun with this one
  EXPECT_EQ(upstream.count(layer.path), 0U);
  upstream.release("no");
  client.join();
  wait_stored(4);
  EXPECT_EQ(get(layer.path).header("Cache-Status"), "edge-1; hit");
}

TEST_F(ManifestsTest, OfAnIndexTheChosenPlatformsArePrefetched) {
  EdgeConfig eager = config();
  eager.upstreams[0].image.prefetch = true;
  eager.upstreams[0].image.platforms = {{.architecture = "arm64", .os = "linux"}};
  serve_image(one);
  serve_image(two);
  const auto child = [](const TestImage& image, const std::string& architecture) {
    return descriptor(oci::media_type::kOciManifest, image.manifest,
                      R"(,"platform":{"os":"linux","architecture":")" + architecture + "\"}");
  };
  const std::string index = R"({"schemaVersion":2,"mediaType":")" +
                            std::string(oci::media_type::kOciIndex) + R"(","manifests":[)" +
                            child(one, "amd64") + "," + child(two, "arm64") + "]}";
  serve_manifest(index, "latest", oci::media_type::kOciIndex);
  start(std::move(eager));
  EXPECT_EQ(get(kLatest).body, index);
  wait_stored(3 + two.layers.size());
  EXPECT_EQ(get(TestBlob(two.layers[1]).path).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(asked(by_digest(two)), "1 0");
  EXPECT_EQ(asked(by_digest(one)), "0 0");
  EXPECT_EQ(upstream.count(TestBlob(one.config).path), 0U);
}

}  // namespace
}  // namespace proxy

// Lists of tags and of referrers through the mirror.
#include "tests/proxy/mirror_fixture.h"

namespace proxy {
namespace {

class ListsTest : public MirrorTest {
 protected:
  void serve_json(const std::string& path, const std::string& body, http::Headers headers = {},
                  std::string_view type = "application/json") {
    headers.set("Content-Type", type);
    upstream.serve_blob(path, body, std::move(headers));
  }
  static std::string index_of(const std::string& children) {
    return R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::kOciIndex) +
           R"(","manifests":[)" + children + "]}";
  }

  TestImage subject{1};
  std::string referrers = "/v2/app/referrers/" + subject.digest();
  std::string signature = descriptor(oci::media_type::kOciManifest, "signature",
                                     R"(,"artifactType":"application/x.signature")");
};

TEST_F(ListsTest, TagsAreKeptForTheirLifetimeAndAskedAboutAfterIt) {
  http::Headers headers;
  headers.set("ETag", "\"t1\"");
  serve_json(kTags, R"({"name":"app","tags":["a", "b"]})", headers);
  start();
  const test::Fetched cold = get(kTags);
  EXPECT_EQ(cold.status, 200);
  EXPECT_EQ(cold.body, "{\"name\":\"app\",\"tags\":[\"a\",\"b\"]}\n");
  EXPECT_EQ(cold.header("Content-Type"), "application/json");
  EXPECT_EQ(cold.header("Link"), "");
  EXPECT_EQ(head(kTags).header("Content-Length"), std::to_string(cold.body.size()));
  EXPECT_EQ(get(kTags).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(asked(kTags), "1 0");

  now += 60;
  upstream.script(kTags,
                  {test::step::expect_header("If-None-Match", "\"t1\""), test::step::respond(304)});
  EXPECT_EQ(get(kTags).header("Cache-Status"), "edge-1; fwd=stale; fwd-status=304");
  now += 60;
  serve_json(kTags, R"({"name":"app","tags":["c"]})");
  EXPECT_EQ(get(kTags).body, "{\"name\":\"app\",\"tags\":[\"c\"]}\n");
  now += 60;
  upstream.stop();
  const test::Fetched stale = get(kTags);
  EXPECT_EQ(stale.body, "{\"name\":\"app\",\"tags\":[\"c\"]}\n");
  EXPECT_TRUE(stale.headers.has("Warning"));
}

TEST_F(ListsTest, PagesAreAskedOfUs) {
  EdgeConfig mirror = config();
  mirror.upstreams[0].namespaces = {"docker.io"};
  mirror.upstreams[0].prefix = "hub";
  http::Headers headers;
  headers.set("Link", "<https://elsewhere.example/v2/app/tags/list?last=b&n=2>; rel=\"next\"");
  serve_json(kTags, R"({"name":"app","tags":["a","b"]})", headers);
  start(std::move(mirror));
  const test::Fetched by_prefix = get("/v2/hub/app/tags/list?n=2");
  EXPECT_EQ(by_prefix.body, "{\"name\":\"hub/app\",\"tags\":[\"a\",\"b\"]}\n");
  EXPECT_EQ(by_prefix.header("Link"), "</v2/hub/app/tags/list?last=b&n=2>; rel=\"next\"");
  const test::Fetched by_ns = get(kTags + "?ns=docker.io&n=2");
  EXPECT_EQ(by_ns.header("Link"), "</v2/app/tags/list?last=b&n=2&ns=docker.io>; rel=\"next\"");
  EXPECT_EQ(by_ns.header("OCI-Namespace"), "docker.io");
  EXPECT_EQ(upstream.requests().size(), 1U);
  EXPECT_EQ(upstream.requests()[0].target, kTags + "?n=2");

  get(kTags + "?last=b&n=2&ns=docker.io");
  EXPECT_EQ(upstream.requests().back().target, kTags + "?last=b&n=2");
}

TEST_F(ListsTest, LinksThatAreNoneAreLeftOut) {
  start();
  for (const char* link : {"<foo", "</v2/app/tags/list?n=2>; rel=\"prev\"", "", "<>; rel=\"next\"",
                           "</v2/app/tags/list>; rel=\"next\"", "</x?a=\"b>; rel=\"next\""}) {
    http::Headers headers;
    headers.set("Link", link);
    serve_json(kTags, R"({"name":"app","tags":[]})", headers);
    EXPECT_EQ(get(kTags).header("Link"), "") << link;
    now += 60;
  }
}

TEST_F(ListsTest, TagsOfNothing) {
  start();
  expect_error(get(kTags), 404, "NAME_UNKNOWN");
  clock.advance(UpstreamConfig().absent_lifetime);
  serve_json(kTags, R"({"name":"app","tags":null})");
  EXPECT_EQ(get(kTags).body, "{\"name\":\"app\",\"tags\":[]}\n");
}

TEST_F(ListsTest, WhatIsNoListOfTagsIsNotKept) {
  start();
  for (const char* body : {"<html>", "[]", "{}", R"({"tags":"a"})", R"({"tags":[1]})", ""}) {
    serve_json(kTags, body);
    expect_error(get(kTags), 502, "UNAVAILABLE");
  }
  EXPECT_EQ(edge->stats().blobs, 0U);
}

// A client may ask for as much as it likes: that says nothing of the upstream.
TEST_F(ListsTest, AnAnswerThatIsTooLargeIsNoFailureAndRemembered) {
  const std::string path = kTags + "?n=1000000";
  const test::FakeUpstream::Script too_large = {
      test::step::respond(200, {}, std::string(kMaxDocument + 1, ' '))};
  test::FakeUpstream second;
  EdgeConfig two = config();
  two.upstreams[0].urls.push_back(second.url());
  two.upstreams[0].eject_after = 1;
  upstream.script(kTags, too_large);
  start(std::move(two));
  for (int i = 0; i < 3; ++i) expect_error(get(path), 502, "UNAVAILABLE");
  EXPECT_EQ(asked(kTags), "1 0");
  EXPECT_EQ(second.requests().size(), 0U);
  // Which is asked as before, when it is time.
  clock.advance(UpstreamConfig().absent_lifetime);
  serve_json(kTags, R"({"name":"app","tags":["a"]})");
  EXPECT_EQ(get(path).status, 200);
  // What was given before is given on.
  now += 60;
  upstream.script(kTags, too_large);
  EXPECT_TRUE(get(path).headers.has("Warning"));
  EXPECT_EQ(asked(kTags), "3 0");
  EXPECT_EQ(second.requests().size(), 0U);
}

TEST_F(ListsTest, LongQueriesAreRefused) {
  start();
  EXPECT_EQ(get(kTags + "?last=" + std::string(2000, 'a')).status, 414);
  EXPECT_EQ(upstream.requests().size(), 0U);
}

TEST_F(ListsTest, ASignatureIsNotForTheUpstream) {
  serve_json(kTags, R"({"name":"app","tags":["a"]})");
  start();
  for (const char* query : {"?entrepot-signature=one&n=2", "?n=2&entrepot%2Dsignature=two"}) {
    EXPECT_EQ(get(kTags + query).status, 200);
  }
  ASSERT_EQ(upstream.requests().size(), 1U) << "and not part of what it is kept under";
  EXPECT_EQ(upstream.requests()[0].target, kTags + "?n=2");
}

TEST_F(ListsTest, OfQueriesThatAreNotTheAPIsNothingIsRemembered) {
  serve_json(kTags, R"({"name":"app","tags":["a"]})");
  serve_json(referrers, index_of(signature), {}, oci::media_type::kOciIndex);
  start();
  const std::vector<std::pair<std::string, size_t>> cases = {
      {kTags, 1},
      {kTags + "?n=1&last=a", 1},
      {kTags + "?x=1", 2},
      {kTags + "?n=1&next_page=abc", 2},
      {kTags + "?artifactType=a", 2},
      {referrers, 1},
      {referrers + "?artifactType=a", 1},
      {referrers + "?last=sha256:0&artifactType=a", 1},
      {referrers + "?artifactType=a&y", 2},
      {referrers + "?n=1", 2},
  };
  for (const auto& [target, questions] : cases) {
    const size_t before = upstream.requests().size();
    const test::Fetched first = get(target);
    EXPECT_EQ(first.status, 200) << target;
    EXPECT_EQ(get(target).body, first.body) << target;
    EXPECT_EQ(upstream.requests().size() - before, questions) << target;
    EXPECT_EQ(upstream.requests().back().target, target) << "the upstream may know it";
  }
}

TEST_F(ListsTest, AnUpstreamsOwnNamespaceIsNotForTheClient) {
  http::Headers headers;
  headers.set("Link", "</v2/app/tags/list?n=2&last=b&ns=docker.io>; rel=\"next\"");
  serve_json(kTags, R"({"name":"app","tags":["a","b"]})", headers);
  EdgeConfig tier = config();
  tier.upstreams[0].ns = "docker.io";
  start(std::move(tier));
  EXPECT_EQ(get(kTags + "?n=2").header("Link"), "</v2/app/tags/list?n=2&last=b>; rel=\"next\"");
  ASSERT_EQ(upstream.requests().size(), 1U);
  EXPECT_EQ(upstream.requests()[0].target, kTags + "?n=2&ns=docker.io");
}

TEST_F(ListsTest, ReferrersWithTheirFilter) {
  http::Headers headers;
  headers.set("OCI-Filters-Applied", "artifactType");
  serve_json(referrers, index_of(signature), headers, oci::media_type::kOciIndex);
  start();
  const std::string query = "?artifactType=application%2Fx.signature";
  const test::Fetched answer = get(referrers + query);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, index_of(signature));
  EXPECT_EQ(answer.header("Content-Type"), oci::media_type::kOciIndex);
  EXPECT_EQ(answer.header("OCI-Filters-Applied"), "artifactType");
  EXPECT_EQ(upstream.requests()[0].target, referrers + query);
  EXPECT_EQ(get(referrers + query).header("OCI-Filters-Applied"), "artifactType");
  EXPECT_EQ(upstream.requests().size(), 1U);
  // Without the filter it is another list.
  get(referrers);
  EXPECT_EQ(upstream.requests().size(), 2U);
}

TEST_F(ListsTest, WithoutTheEndpointTheTagIsLookedAt) {
  const std::string tag =
      "/v2/app/manifests/sha256-" + subject.digest().substr(std::string("sha256:").size());
  serve_json(tag, index_of(signature), {}, oci::media_type::kOciIndex);
  start();
  const test::Fetched answer = get(referrers);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, index_of(signature));
  EXPECT_EQ(answer.header("Content-Type"), oci::media_type::kOciIndex);
  EXPECT_EQ(answer.header("OCI-Filters-Applied"), "");
  EXPECT_EQ(get(referrers).header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(upstream.requests().size(), 2U);
  now += 60;
  upstream.stop();
  EXPECT_EQ(get(referrers).body, index_of(signature));
}

TEST_F(ListsTest, NoReferrersAreAnEmptyIndex) {
  start();
  const std::string empty = index_of("");
  EXPECT_EQ(get(referrers).body, empty);
  // An endpoint that answers with something else is none.
  for (const int status : {200, 400, 405, 501}) {
    const std::string path =
        "/v2/app/referrers/" + TestImage(100 + static_cast<unsigned>(status)).digest();
    http::Headers html;
    html.set("Content-Type", "text/html");
    upstream.script(path, {test::step::respond(status == 501 ? 404 : status, html, "<html>")});
    const test::Fetched answer = get(path);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, empty);
    EXPECT_EQ(answer.header("Content-Type"), oci::media_type::kOciIndex);
  }
  expect_error(get("/v2/app/referrers/sha256:short"), 400, "DIGEST_INVALID");
}

TEST_F(ListsTest, ReferrersAreNeverNameUnknown) {
  upstream.script(referrers, {test::step::respond(403)});
  start();
  expect_error(get(referrers), 404, "MANIFEST_UNKNOWN");
  clock.advance(UpstreamConfig().absent_lifetime);
  upstream.stop();
  expect_error(get(referrers), 502, "UNAVAILABLE");
}

}  // namespace
}  // namespace proxy

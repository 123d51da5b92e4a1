// Private content: an edge that serves blobs only to those whom the origin gave a signed URL.
#include <atomic>
#include <thread>

#include "base/yaml_config.h"
#include "http/signed_url.h"
#include "tests/proxy/mirror_fixture.h"

namespace proxy {
namespace {

const http::SigningKey kNew{"new", "0123456789abcdef0123456789abcdef"};
const http::SigningKey kOld{"old", "fedcba9876543210fedcba9876543210"};

class SignatureTest : public EdgeTest {
 protected:
  // Clients that come from 127.0.0.1 may say where they come from.
  EdgeConfig config() {
    EdgeConfig config = EdgeTest::config();
    config.signature = SignatureConfig{.keys = {kNew, kOld}};
    config.limits.trusted_proxies.networks = {*http::Network::parse("127.0.0.1")};
    config.unix_time = [this] { return now_.load(); };
    return config;
  }

  std::string parameter(const std::string& path, const http::SigningKey& key = kNew,
                        const std::string& network = "") const {
    return http::sign_path(key, path, now_ + 60, http::Network::parse(network));
  }
  std::string signed_url(const std::string& path, const http::SigningKey& key = kNew,
                         const std::string& network = "") const {
    return path + '?' + parameter(path, key, network);
  }

  test::Fetched with(const std::string& target, const std::string& name, const std::string& value,
                     const std::string& method = "GET") {
    test::FetchOptions options{.method = method};
    options.headers.set(name, value);
    return test::fetch(edge->port(), target, options);
  }

  // Whatever is asked for, and however: a 403 that says nothing about the blob.
  void expect_refused(const std::string& target) {
    expect_error(get(target), 403, "DENIED");
    expect_error(get(target, "bytes=0-0"), 403, "DENIED");
    expect_error(get(target, "bytes=0-0,5-5"), 403, "DENIED");
    expect_error(with(target, "If-None-Match", "*"), 403, "DENIED");
    expect_error(with(target, "If-Modified-Since", "Wed, 25 Nov 2099 10:00:00 GMT"), 403, "DENIED");
    expect_error(with(target, "Authorization", "Basic dXNlcjpwYXNz"), 403, "DENIED");
    for (const test::Fetched& answer : {head(target), with(target, "Range", "bytes=0-0", "HEAD")}) {
      EXPECT_EQ(answer.status, 403);
      EXPECT_EQ(answer.header("Cache-Control"), "no-store");
      EXPECT_EQ(answer.header("Docker-Content-Digest"), "");
      EXPECT_EQ(answer.header("ETag"), "");
    }
  }

  std::atomic<int64_t> now_ = 1'764'080'000;
};

TEST_F(SignatureTest, TheOriginsWordOpensTheCache) {
  const TestBlob blob(random_bytes(2 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  start(config());
  const std::string url = signed_url(blob.path);
  EXPECT_EQ(head(url).header("Content-Length"), std::to_string(2 * kMiB));
  const test::Fetched miss = get(url);
  EXPECT_EQ(miss.status, 200);
  EXPECT_EQ(miss.body, blob.bytes);
  wait_stored(1);
  // Another permission for the same blob is another URL, and the same blob in the cache.
  const test::Fetched hit = get(signed_url(blob.path, kOld, "127.0.0.0/8"));
  EXPECT_EQ(hit.body, blob.bytes);
  EXPECT_EQ(hit.header("Cache-Status"), "edge-1; hit");
  EXPECT_EQ(hit.header("Cache-Control"), "private, max-age=31536000, immutable");
  EXPECT_EQ(get(url, "bytes=5-14").body, blob.bytes.substr(5, 10));
  EXPECT_EQ(with(url, "If-None-Match", "*").status, 304);
  EXPECT_EQ(head(url).status, 200);
  // Nothing of it has gone to the upstream.
  EXPECT_EQ(upstream.count(blob.path), 2U);
  EXPECT_EQ(upstream.requests().size(), 2U);
}

TEST_F(SignatureTest, WithoutItThereIsNothingToSee) {
  const TestBlob held(random_bytes(1000));
  const TestBlob cold(random_bytes(1000, 2));
  upstream.serve_blob(held.path, held.bytes);
  upstream.serve_blob(cold.path, cold.bytes);
  start(config());
  EXPECT_EQ(get(signed_url(held.path)).body, held.bytes);
  wait_stored(1);
  expect_refused(held.path);
  expect_refused(cold.path);
  expect_refused("/v2/app/blobs/sha256:short");
  EXPECT_EQ(get(held.path).body, get(cold.path).body);
  EXPECT_EQ(upstream.requests().size(), 1U);
  expect_error(get("/v2/app/manifests/latest"), 403, "DENIED");
  expect_error(get("/v2/app/tags/list"), 403, "DENIED");
  // That this is a registry may be known.
  EXPECT_EQ(get("/v2/").status, 200);
  expect_error(with(signed_url(held.path), "Accept", "*/*", "DELETE"), 405, "UNSUPPORTED");
}

TEST_F(SignatureTest, AFillUnderWayIsNotJoined) {
  const TestBlob blob(random_bytes(4 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {test::step::send_upto(2 * kMiB), test::step::stall("half")});
  start(config());
  std::thread permitted([&] { EXPECT_EQ(get(signed_url(blob.path)).body, blob.bytes); });
  upstream.wait_stalled("half");
  expect_refused(blob.path);
  upstream.release("half");
  permitted.join();
}

TEST_F(SignatureTest, AStolenUrlIsOfNoUse) {
  const TestBlob blob(random_bytes(1000));
  const TestBlob other(random_bytes(1000, 2));
  const TestBlob elsewhere(blob.bytes, "secret");
  for (const TestBlob* each : {&blob, &other, &elsewhere}) {
    upstream.serve_blob(each->path, each->bytes);
  }
  start(config());
  const std::string query = '?' + parameter(blob.path);
  EXPECT_EQ(get(blob.path + query).body, blob.bytes);
  EXPECT_EQ(get(signed_url(other.path)).body, other.bytes);
  wait_stored(2);
  expect_refused(other.path + query);
  expect_refused(elsewhere.path + query);
  expect_refused(signed_url(blob.path, {kNew.id, "of somebody else"}));
  expect_refused(signed_url(blob.path, {"unknown", kNew.secret}));
  now_ += 60 + 30 - 1;
  EXPECT_EQ(get(blob.path + query).status, 200) << "the origin's clock may be ahead by 30 s";
  now_ += 1;
  expect_refused(blob.path + query);
}

TEST_F(SignatureTest, ItIsForTheNetworkOfItsClient) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  start(config());
  const auto from = [&](const std::string& network, const std::string& client) {
    return with(signed_url(blob.path, kNew, network), "X-Forwarded-For", client).status;
  };
  EXPECT_EQ(from("192.0.2.0/24", "192.0.2.9"), 200);
  EXPECT_EQ(from("192.0.2.0/24", "192.0.3.9"), 403);
  EXPECT_EQ(from("192.0.2.0/24", "192.0.2.9, 192.0.3.9"), 403);
  EXPECT_EQ(from("2001:db8::/64", "2001:db8::9"), 200);
  EXPECT_EQ(from("2001:db8::/64", "192.0.2.9"), 403);
  EXPECT_EQ(get(signed_url(blob.path, kNew, "127.0.0.1/32")).status, 200);
  EXPECT_EQ(get(signed_url(blob.path, kNew, "127.0.0.2/32")).status, 403);
}

TEST_F(SignatureTest, NobodySaysWhoHeIsToAnEdgeThatTrustsNoProxy) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  EdgeConfig alone = config();
  alone.limits.trusted_proxies = {};
  start(std::move(alone));
  const std::string url = signed_url(blob.path, kNew, "192.0.2.0/24");
  EXPECT_EQ(with(url, "X-Forwarded-For", "192.0.2.9").status, 403);
}

TEST_F(SignatureTest, OtherWaysToWriteTheSameUrl) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  start(config());
  const std::string one = parameter(blob.path);
  const std::string value = one.substr(one.find('=') + 1);
  std::string escaped_path = blob.path;
  escaped_path.replace(escaped_path.find(':'), 1, "%3a");
  for (const std::string& good :
       {blob.path + "?x=a&" + one, blob.path + '?' + one + "&x=a&y", escaped_path + '?' + one,
        blob.path + "?entrepot%2dsignature=" + value}) {
    EXPECT_EQ(get(good).body, blob.bytes) << good;
  }
  for (const std::string& bad :
       {blob.path + '?' + one + '&' + one, blob.path + "?entrepot-signature=&" + one,
        blob.path + '?' + one + "&entrepot%2Dsignature=x", blob.path + "?x;" + one,
        blob.path + "?Entrepot-Signature=" + value, blob.path + "?entrepot-signature=+" + value,
        "/v2/app/blobs/../blobs/" + blob.digest.str() + '?' + one}) {
    EXPECT_GE(get(bad).status, 400) << bad;
    EXPECT_LE(get(bad).status, 403) << bad;
  }
  EXPECT_EQ(upstream.requests().size(), 1U);
}

TEST_F(SignatureTest, KeysAreRotatedWithoutARestart) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  EdgeConfig fresh = config();
  fresh.signature->keys = {kOld};
  start(fresh);
  EXPECT_EQ(get(signed_url(blob.path, kOld)).status, 200);
  expect_refused(signed_url(blob.path, kNew));
  fresh.signature->keys = {kOld, kNew};
  edge->reload(fresh);
  EXPECT_EQ(get(signed_url(blob.path, kOld)).status, 200);
  EXPECT_EQ(get(signed_url(blob.path, kNew)).status, 200);
  fresh.signature->keys = {kNew};
  edge->reload(fresh);
  expect_refused(signed_url(blob.path, kOld));
  EXPECT_EQ(get(signed_url(blob.path, kNew)).status, 200);
  fresh.signature.reset();
  edge->reload(fresh);
  EXPECT_EQ(get(blob.path).status, 200);
}

TEST_F(SignatureTest, AsLongAsItIsNotRequiredItMustOnlyNotBeWrong) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  EdgeConfig lenient = config();
  lenient.signature->required = false;
  start(std::move(lenient));
  const test::Fetched open = get(blob.path);
  EXPECT_EQ(open.body, blob.bytes);
  EXPECT_EQ(open.header("Cache-Control"), "public, max-age=31536000, immutable");
  EXPECT_EQ(get(signed_url(blob.path)).body, blob.bytes);
  expect_refused(signed_url(blob.path, {"new", "of somebody else"}));
}

TEST_F(SignatureTest, ErrorsAndLogsDoNotTellIt) {
  const TestBlob blob(random_bytes(1000));  // not upstream
  EdgeConfig logging = config();
  logging.access_log = true;
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  start(std::move(logging));
  const std::string value = parameter(blob.path).substr(std::string("entrepot-signature=").size());
  std::string told;
  for (const std::string& url : {signed_url(blob.path), blob.path + "x?" + parameter(blob.path),
                                 blob.path + "%3f" + parameter(blob.path)}) {
    const test::Fetched answer = with(url, "Referer", "https://edge.example" + url);
    EXPECT_GE(answer.status, 400);
    told += answer.body;
    for (const http::Headers::Field& field : answer.headers) told += field.value + '\n';
  }
  stop();
  const std::string access_log = ::testing::internal::GetCapturedStdout();
  told += ::testing::internal::GetCapturedStderr() + access_log;
  EXPECT_NE(access_log.find("entrepot-signature=***"), std::string::npos) << access_log;
  EXPECT_EQ(told.find(value), std::string::npos) << told;
  EXPECT_EQ(told.find(value.substr(value.rfind('~') + 1)), std::string::npos) << told;
}

class SignatureConfigTest : public ::testing::Test {
 protected:
  EdgeConfig read(const std::string& more) {
    return read_edge_config(directory_.write("edge.yml",
                                             "listen: [{addr: ':80'}]\n"
                                             "cache: {directory: /c, size: 1GiB}\n"
                                             "upstreams: [{urls: ['https://o']}]\n" +
                                                 more));
  }
  std::string error(const std::string& more) {
    try {
      read(more);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "no error";
  }
  test::TempDir directory_;
};

TEST_F(SignatureConfigTest, Section) {
  EXPECT_FALSE(read("").signature);
  const EdgeConfig config = read(R"(
signature:
  keys: [{id: new, secret: 0123456789abcdef}, {id: old, secret: fedcba9876543210}]
  clock_skew: 5s
server: {trusted_proxies: [10.0.0.0/8]}
)");
  ASSERT_TRUE(config.signature);
  EXPECT_TRUE(config.signature->required);
  EXPECT_EQ(config.signature->keys.size(), 2U);
  EXPECT_EQ(config.signature->clock_skew, std::chrono::seconds(5));
  EXPECT_TRUE(http::contains_address(config.limits.trusted_proxies.networks, "10.1.2.3"));
  EXPECT_FALSE(read("signature: {required: false, keys: [{id: a, secret: 0123456789abcdef}]}\n")
                   .signature->required);
}

TEST_F(SignatureConfigTest, ASectionWithoutKeysOpensNothing) {
  for (const std::string section : {"{}", "{required: true}", "{keys: []}"}) {
    EXPECT_NE(error("signature: " + section + "\n").find("signature.keys"), std::string::npos)
        << error("signature: " + section + "\n");
  }
}

class SignedMirrorTest : public MirrorTest {};

TEST_F(SignedMirrorTest, WhatASignedUrlGivesIsForWhoHasIt) {
  const TestImage image(1);
  serve_image(image, "latest");
  EdgeConfig signed_only = config();
  signed_only.signature = SignatureConfig{.keys = {kNew}};
  start(std::move(signed_only));
  const auto cache_control = [&](const std::string& path) {
    const test::Fetched answer =
        get(path + '?' + http::sign_path(kNew, path, now + 60, std::nullopt));
    EXPECT_EQ(answer.body, image.manifest);
    return answer.header("Cache-Control");
  };
  EXPECT_EQ(cache_control("/v2/app/manifests/latest"), "private, no-cache");
  EXPECT_EQ(cache_control("/v2/app/manifests/" + image.digest()),
            "private, max-age=31536000, immutable");
}

}  // namespace
}  // namespace proxy

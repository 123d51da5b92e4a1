// Edges as upstreams of edges: a shield tier, over HTTP/2 too, and loops.
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/unique_fd.h"
#include "tests/proxy/edge_fixture.h"
#include "tests/support/certificates.h"

namespace proxy {
namespace {

namespace step = test::step;

// A socket that listens on a free port of 127.0.0.1.
struct Listening {
  Listening() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    void* generic = &address;
    socklen_t length = sizeof address;
    EXPECT_EQ(::bind(fd.get(), static_cast<sockaddr*>(generic), length), 0);
    EXPECT_EQ(::listen(fd.get(), 64), 0);
    ::getsockname(fd.get(), static_cast<sockaddr*>(generic), &length);
    url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  base::UniqueFd fd;
  std::string url;
};

class TiersTest : public EdgeTest {
 protected:
  // An edge's configuration with a cache of its own.
  EdgeConfig named(const std::string& name, const std::string& upstream_url) {
    EdgeConfig config = EdgeTest::config();
    config.name = name;
    config.cache.root = directory.path() / name;
    config.upstreams[0].urls = {upstream_url};
    return config;
  }
};

TEST_F(TiersTest, ShieldAnswersTheEdgesBehindIt) {
  const TestBlob blob(random_bytes(3 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  Edge shield(named("shield", upstream.url()));
  shield.start();
  const std::string shield_url = "http://127.0.0.1:" + std::to_string(shield.port());
  start(named("edge-1", shield_url));
  Edge second(named("edge-2", shield_url));
  second.start();

  test::FetchOptions passed;
  passed.headers.set("CDN-Loop", "outer; v=1");
  EXPECT_TRUE(test::fetch(edge->port(), blob.path, passed).body == blob.bytes);
  EXPECT_TRUE(test::fetch(second.port(), blob.path).body == blob.bytes);
  ASSERT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(upstream.requests()[0].headers.joined("CDN-Loop"), "outer; v=1, edge-1, shield");
  EXPECT_EQ(upstream.requests()[0].headers.joined("Via"), "1.1 shield");
}

TEST_F(TiersTest, ShieldOverHttp2) {
  const TestBlob blob(random_bytes(9 * kMiB + 7));
  const TestBlob other(random_bytes(5 * kMiB, 2));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.serve_blob(other.path, other.bytes);
  test::CertificateAuthority authority(directory.path(), "ca");
  const test::CertificateFiles files = authority.issue_server();
  EdgeConfig tls = named("shield", upstream.url());
  http::TlsOptions& options = tls.listeners[0].tls.emplace();
  options.certificates.push_back({files.certificate, files.key});
  Edge shield(std::move(tls));
  shield.start();

  EdgeConfig config = named("edge-1", "https://localhost:" + std::to_string(shield.port()));
  config.upstreams[0].client.ca_file = authority.certificate();
  config.upstreams[0].client.http2 = true;
  config.upstreams[0].client.buffer_bytes = 64 << 10;  // so that transfers pause
  start(std::move(config));
  std::thread parallel([&] { EXPECT_TRUE(get(other.path).body == other.bytes); });
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  parallel.join();
  wait_stored(2);
  EXPECT_EQ(get(blob.path, "bytes=9437184-").body, blob.bytes.substr(9 * kMiB));
}

TEST_F(TiersTest, RequestThatComesBackIsRefused) {
  start();
  test::FetchOptions passed;
  passed.headers.set("CDN-Loop", "other, edge-1; v=1");
  const test::Fetched answer = test::fetch(edge->port(), TestBlob("x").path, passed);
  expect_error(answer, 508, "UNAVAILABLE");
  EXPECT_EQ(upstream.requests().size(), 0U);
}

TEST_F(TiersTest, ALongWayIsRefusedAndNotAskedAbout) {
  start();
  test::FetchOptions passed;
  passed.headers.set("CDN-Loop", std::string(5000, 'a'));
  expect_error(test::fetch(edge->port(), TestBlob("x").path, passed), 508, "UNAVAILABLE");
  EXPECT_EQ(upstream.requests().size(), 0U);
}

// What the edge lets pass and the shield does not, because the edge has added its name.
TEST_F(TiersTest, AWayThatGetsTooLongIsRefusedToItsClientAlone) {
  const TestBlob blob(random_bytes(1000));
  upstream.serve_blob(blob.path, blob.bytes);
  Edge shield(named("shield", upstream.url()));
  shield.start();
  EdgeConfig config = named("edge-1", "http://127.0.0.1:" + std::to_string(shield.port()));
  config.admin.address = "127.0.0.1:0";
  config.admin.token = "the-token";
  start(std::move(config));
  test::FetchOptions passed;
  passed.headers.set("CDN-Loop", std::string(1020, 'a'));
  expect_error(test::fetch(edge->port(), blob.path, passed), 502, "UNAVAILABLE");
  EXPECT_EQ(get(blob.path).body, blob.bytes);
  test::FetchOptions admin;
  admin.headers.set("Authorization", "Bearer the-token");
  const auto stats = nlohmann::json::parse(test::fetch(edge->admin_port(), "/stats", admin).body);
  EXPECT_EQ(stats["upstreams"][0]["urls"][0]["failures"], 0) << "the shield is well";
}

// An upstream refuses a loop that a client has made up: nobody else is refused with it.
TEST_F(TiersTest, ARefusalForAnothersWayIsNoAnswer) {
  const TestBlob blob(random_bytes(3 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  upstream.script(blob.path, {step::stall("asked"), step::respond(508)});
  EdgeConfig config = EdgeTest::config();
  config.admin.address = "127.0.0.1:0";
  config.admin.token = "the-token";
  start(std::move(config));
  std::thread liar([&] {
    test::FetchOptions passed;
    passed.headers.set("CDN-Loop", "shield");
    EXPECT_EQ(test::fetch(edge->port(), blob.path, passed).status, 502);
  });
  upstream.wait_stalled("asked");
  std::thread other([&] { EXPECT_TRUE(get(blob.path).body == blob.bytes); });
  // Both wait for the same fill now.
  test::FetchOptions admin;
  admin.headers.set("Authorization", "Bearer the-token");
  while (nlohmann::json::parse(test::fetch(edge->admin_port(), "/stats", admin).body)["serving"]
             .size() < 2) {
    std::this_thread::yield();
  }
  upstream.release("asked");
  liar.join();
  other.join();
  EXPECT_EQ(upstream.count(blob.path), 2U);
}

TEST_F(TiersTest, AShieldIsToldWhichRegistryIsMeant) {
  const TestBlob blob(random_bytes(3 * kMiB));
  upstream.serve_blob(blob.path, blob.bytes);
  test::FakeUpstream nobody;
  EdgeConfig of_two = named("shield", nobody.url());
  of_two.upstreams[0].namespaces = {"quay.io"};
  UpstreamConfig hub = of_two.upstreams[0];
  hub.name = "hub";
  hub.urls = {upstream.url()};
  hub.namespaces = {"docker.io"};
  of_two.upstreams.push_back(hub);
  Edge shield(std::move(of_two));
  shield.start();
  EdgeConfig behind = named("edge-1", "http://127.0.0.1:" + std::to_string(shield.port()));
  behind.upstreams[0].ns = "docker.io";
  start(std::move(behind));
  EXPECT_TRUE(get(blob.path).body == blob.bytes);
  EXPECT_EQ(nobody.requests().size(), 0U);
  ASSERT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(upstream.requests()[0].target, blob.path);
}

TEST_F(TiersTest, TwoEdgesThatAskEachOtherEnd) {
  Listening a;
  Listening b;
  EdgeConfig one = named("edge-a", b.url);
  one.sockets = {{a.fd.get(), ""}};
  EdgeConfig two = named("edge-b", a.url);
  two.sockets = {{b.fd.get(), ""}};
  start(std::move(one));
  Edge other(std::move(two));
  other.start();
  const TestBlob blob("nowhere");
  expect_error(get(blob.path), 502, "UNAVAILABLE");
  EXPECT_EQ(head(blob.path).status, 502);
}

TEST_F(TiersTest, OriginThatRedirectsTheEdgeToItselfIsAClearError) {
  Listening here;
  const TestBlob blob("x");
  for (size_t i = 0; i < UpstreamConfig().rounds; ++i) {
    upstream.script(blob.path, {step::redirect(here.url + blob.path)});
  }
  EdgeConfig config = EdgeTest::config();
  config.sockets = {{here.fd.get(), ""}};
  config.upstreams[0].redirects = RedirectRules::parse({"127.0.0.1"}).value();
  start(std::move(config));
  expect_error(get(blob.path), 502, "UNAVAILABLE");
}

}  // namespace
}  // namespace proxy

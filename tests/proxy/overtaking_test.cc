// Requests for one blob that meet: of two upstreams, neither of which holds up the other's clients,
// and with a manifest of the same digest.
#include <cerrno>
#include <latch>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/fault_point.h"
#include "tests/proxy/mirror_fixture.h"

namespace proxy {
namespace {

namespace step = test::step;

class OvertakingTest : public MirrorTest {
 protected:
  OvertakingTest() : blob(random_bytes(3 * kMiB + 5)) {
    upstream.serve_blob(blob.path, blob.bytes);
    other.serve_blob(blob.path, blob.bytes);
    EdgeConfig two = config();
    two.upstreams[0].client.first_byte_timeout = two.upstreams[0].client.stall_timeout =
        std::chrono::hours(1);
    UpstreamConfig& second = two.upstreams.emplace_back(two.upstreams[0]);
    second.name = "other";
    second.urls = {other.url()};
    second.namespaces = {"other.example"};
    two.admin.address = "127.0.0.1:0";
    two.admin.token = "the-token";
    start(std::move(two));
  }

  static std::string by_the_other(const std::string& path) { return path + "?ns=other.example"; }
  std::thread client(const std::string& path) {
    return std::thread([this, path] {
      const test::Fetched answer = get(path);
      EXPECT_EQ(answer.status, 200);
      EXPECT_TRUE(answer.complete && answer.body == blob.bytes);
    });
  }
  // Until so many requests of clients ("serving") or fills are under way.
  void wait_for(const char* what, size_t count) {
    test::FetchOptions admin;
    admin.headers.set("Authorization", "Bearer the-token");
    while (
        nlohmann::json::parse(test::fetch(edge->admin_port(), "/stats", admin).body)[what].size() <
        count) {
      std::this_thread::yield();
    }
  }

  test::FakeUpstream other;
  const TestBlob blob;
};

TEST_F(OvertakingTest, AHungUpstreamHoldsNoClientOfAnother) {
  upstream.script(blob.path, {step::stall("hung")});
  std::thread its = client(blob.path);
  upstream.wait_stalled("hung");
  std::thread others = client(by_the_other(blob.path));
  wait_for("serving", 2);
  EXPECT_EQ(other.count(blob.path), 0U);
  clock.advance(std::chrono::seconds(5));
  others.join();
  its.join();  // has it from the other as well
  wait_stored(1);
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(other.count(blob.path), 1U);
  // What comes after all is not wanted, and disturbs nothing.
  upstream.release("hung");
  EXPECT_EQ(get(blob.path).header("Cache-Status"), "edge-1; hit");
}

TEST_F(OvertakingTest, WhoeverAnswersFirstFillsForAll) {
  upstream.script(blob.path, {step::stall("slow")});
  other.script(blob.path, {step::stall("hung")});
  std::thread its = client(blob.path);
  upstream.wait_stalled("slow");
  std::thread others = client(by_the_other(blob.path));
  wait_for("serving", 2);
  clock.advance(std::chrono::seconds(5));
  other.wait_stalled("hung");
  upstream.release("slow");
  its.join();
  others.join();
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(other.count(blob.path), 1U);
  EXPECT_EQ(other.bytes_sent(blob.path), 0U);
}

TEST_F(OvertakingTest, EachUpstreamIsAskedOnce) {
  upstream.script(blob.path, {step::stall("hung")});
  other.script(blob.path, {step::stall("hung")});
  std::vector<std::thread> clients;
  clients.push_back(client(blob.path));
  upstream.wait_stalled("hung");
  for (int i = 0; i < 3; ++i) {
    clock.advance(std::chrono::seconds(5));
    clients.push_back(client(by_the_other(blob.path)));
    clients.push_back(client(blob.path));
    wait_for("serving", clients.size());
  }
  other.wait_stalled("hung");
  upstream.release("hung");
  for (std::thread& each : clients) each.join();
  EXPECT_EQ(upstream.count(blob.path), 1U);
  EXPECT_EQ(other.count(blob.path), 1U);
}

TEST_F(OvertakingTest, WhereTheOtherHasItNotTheSlowOneGoesOn) {
  upstream.script(blob.path, {step::stall("slow")});
  other.script(blob.path, {step::respond(404)});
  std::thread its = client(blob.path);
  upstream.wait_stalled("slow");
  clock.advance(std::chrono::seconds(5));
  expect_error(get(by_the_other(blob.path)), 404, "BLOB_UNKNOWN");
  upstream.release("slow");
  its.join();
  EXPECT_EQ(upstream.count(blob.path), 1U);
}

TEST_F(OvertakingTest, AFillThatWritesIsNotOvertaken) {
  upstream.script(blob.path, {step::send_upto(2 * kMiB), step::stall("half")});
  std::thread its = client(blob.path);
  upstream.wait_stalled("half");
  std::thread others = client(by_the_other(blob.path));
  wait_for("serving", 2);
  clock.advance(std::chrono::seconds(60));
  std::thread late = client(by_the_other(blob.path));
  wait_for("serving", 3);
  upstream.release("half");
  its.join();
  others.join();
  late.join();
  EXPECT_EQ(other.count(blob.path), 0U);
}

// A manifest's bytes are there, and somebody has asked the hung upstream for a blob of its digest.
TEST_F(OvertakingTest, AManifestIsKeptPastAHungUpstream) {
  const TestImage image(1);
  const TestBlob manifest(image.manifest);
  const std::string tag = "/v2/app/manifests/latest";
  http::Headers type;
  type.set("Content-Type", oci::media_type::kOciManifest);
  other.serve_blob(tag, image.manifest, type);
  upstream.serve_blob(manifest.path, image.manifest);
  upstream.script(manifest.path, {step::stall("hung")});
  std::thread its([&] { EXPECT_EQ(get(manifest.path).body, image.manifest); });
  upstream.wait_stalled("hung");
  std::thread others([&] { EXPECT_EQ(get(by_the_other(tag)).body, image.manifest); });
  other.wait_complete(1);
  wait_for("serving", 2);
  clock.advance(std::chrono::seconds(5));
  others.join();
  its.join();
  EXPECT_EQ(edge->stats().blobs, 1U);
  upstream.release("hung");
}

class GivenBytesTest : public OvertakingTest, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Operations, GivenBytesTest, ::testing::Values("create", "write"));

// Nobody fetches the manifest's bytes, so who waits for them as a blob has to.
TEST_P(GivenBytesTest, ThatCannotBeKeptAreFetchedByWhoWaitsForThem) {
  const TestImage image(1);
  const TestBlob manifest(image.manifest);
  serve_manifest(image.manifest, "latest");
  upstream.serve_blob(manifest.path, image.manifest);
  std::latch met(1);
  const base::InjectedFault fault(GetParam(), [&](std::string_view) {
    if (met.try_wait()) return 0;
    met.wait();
    return EIO;
  });
  const base::InjectedFault joined("blob.joined", [&](std::string_view) {
    met.count_down();
    return 0;
  });
  std::thread keeps([&] { EXPECT_EQ(get("/v2/app/manifests/latest").body, image.manifest); });
  wait_for("fills", 1);
  std::thread waits([&] {
    const test::Fetched answer = get(manifest.path);
    EXPECT_EQ(answer.body, image.manifest);
    EXPECT_EQ(answer.header("Cache-Status"), "edge-1; fwd=uri-miss; stored");
  });
  keeps.join();
  waits.join();
  EXPECT_EQ(upstream.count(manifest.path), 1U);
}

}  // namespace
}  // namespace proxy

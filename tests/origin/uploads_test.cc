// Pushing blobs, also with requests that alternate between two replicas.
#include <filesystem>
#include <latch>
#include <thread>
#include <utility>

#include "base/fault_point.h"
#include "origin/api/content_range.h"
#include "origin/storage/upload_lease.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/raw_client.h"

namespace origin {
namespace {

namespace fs = std::filesystem;

// Different bytes for each seed; not a multiple of any block.
std::string bytes(size_t size, unsigned seed = 1) {
  std::string out(size, '\0');
  uint32_t state = seed;
  for (char& c : out) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return out;
}

class UploadsTest : public RegistryTest {
 protected:
  std::string begin(uint16_t port, const std::string& repository = "a") {
    const auto answer = call(port, "POST", "/v2/" + repository + "/blobs/uploads/");
    EXPECT_EQ(answer.status, 202) << answer.body;
    EXPECT_EQ(answer.header("Range"), "0-0");
    return location(answer);
  }
  static std::string without_state(const std::string& url) { return url.substr(0, url.find('?')); }
  static std::string id(const std::string& url) {
    const std::string path = without_state(url);
    return path.substr(path.rfind('/') + 1);
  }
  void expect_blob(uint16_t port, const std::string& repository, const std::string& content) {
    const auto answer = call(port, "GET", "/v2/" + repository + "/blobs/" + sha256(content).str());
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.complete);
    EXPECT_TRUE(answer.body == content);
  }
};

TEST_F(UploadsTest, PostAndPut) {
  const uint16_t port = start();
  const std::string content = bytes(3'000'001);
  const std::string url = begin(port);
  const auto put = call(port, "PUT", url + "&digest=" + sha256(content).str(), content);
  EXPECT_EQ(put.status, 201) << put.body;
  EXPECT_EQ(put.header("Docker-Content-Digest"), sha256(content).str());
  EXPECT_EQ(location(put), "/v2/a/blobs/" + sha256(content).str());
  expect_blob(port, "a", content);
  EXPECT_TRUE(fs::is_empty(layout().repository("a") / "_uploads"));
}

TEST_F(UploadsTest, ReplicasTakeTurns) {
  const uint16_t ports[] = {start(), start()};
  const std::string content = bytes(2'500'000);
  std::string url = begin(ports[0]);
  const size_t step = 700'000;
  int turn = 1;
  for (size_t at = 0; at < content.size(); at += step, ++turn) {
    const std::string chunk = content.substr(at, step);
    const std::string range = std::to_string(at) + "-" + std::to_string(at + chunk.size() - 1);
    const auto patch =
        call(ports[turn % 2], "PATCH", url, chunk, fields({{"Content-Range", range}}));
    ASSERT_EQ(patch.status, 202) << patch.body;
    EXPECT_EQ(patch.header("Range"), "0-" + std::to_string(at + chunk.size() - 1));
    EXPECT_EQ(patch.header("Docker-Upload-UUID"), id(url));
    url = location(patch);
    EXPECT_TRUE(fs::exists(layout().upload_hash_state("a", id(url), at + chunk.size())));
  }
  const auto put = call(ports[turn % 2], "PUT", url + "&digest=" + sha256(content).str());
  EXPECT_EQ(put.status, 201) << put.body;
  expect_blob(ports[0], "a", content);
  expect_blob(ports[1], "a", content);
}

TEST_F(UploadsTest, InOneRequest) {
  const uint16_t port = start();
  push_blob(port, "a", "one request");
  expect_blob(port, "a", "one request");
  push_blob(port, "a", "");
  expect_blob(port, "a", "");
  const auto wrong = call(port, "POST", "/v2/a/blobs/uploads/?digest=" + sha256("x").str(), "y");
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(error_code(wrong), "DIGEST_INVALID");
  EXPECT_TRUE(fs::is_empty(layout().repository("a") / "_uploads"));
}

TEST_F(UploadsTest, ABodyOfUnknownLengthIsStreamed) {
  const uint16_t port = start();
  test::RawClient client(port);
  client.send("PATCH " + without_state(begin(port, "a/b")) +
              " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  const auto answer = client.response();
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.headers.get("Range"), "0-10");
}

TEST_F(UploadsTest, ContinueComesOnlyOnceTheUploadIsKnown) {
  const uint16_t port = start();
  const std::string url = begin(port);
  const std::string expecting =
      " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
  test::RawClient client(port);
  client.send("PATCH " + url + expecting);
  EXPECT_EQ(client.response().status, 100);
  client.send("hello");
  EXPECT_EQ(client.response().status, 202);
  test::RawClient other(port);
  other.send("PATCH /v2/a/blobs/uploads/unknown" + expecting);
  EXPECT_EQ(other.response().status, 404);
}

TEST_F(UploadsTest, AChunkOutOfOrderIsRefusedWithTheWayOn) {
  const uint16_t port = start();
  std::string url = location(call(port, "PATCH", begin(port), "hello"));
  for (const char* range : {"6-8", "4-6", "0-2", "5-", "x", "8-6", "bytes"}) {
    const auto answer = call(port, "PATCH", url, "abc", fields({{"Content-Range", range}}));
    EXPECT_EQ(answer.status, 416) << range;
    EXPECT_EQ(error_code(answer), "RANGE_INVALID");
    EXPECT_EQ(answer.header("Range"), "0-4");
    EXPECT_EQ(answer.header("Docker-Upload-UUID"), id(url));
    EXPECT_EQ(without_state(location(answer)), without_state(url));
  }
  const auto status = call(port, "GET", url);
  const auto head = call(port, "HEAD", url);
  for (const auto& told : {status, head}) {
    EXPECT_EQ(told.status, 204);
    EXPECT_EQ(told.header("Range"), "0-4");
    EXPECT_EQ(told.header("Docker-Upload-UUID"), id(url));
    EXPECT_EQ(without_state(location(told)), without_state(url));
  }
  const auto go_on =
      call(port, "PATCH", location(status), " world", fields({{"Content-Range", "5-10"}}));
  EXPECT_EQ(go_on.status, 202);
  const auto out_of_order =
      call(port, "PUT", location(go_on) + "&digest=" + sha256("hello world!").str(), "!",
           fields({{"Content-Range", "12-12"}}));
  EXPECT_EQ(out_of_order.status, 416);
  const auto put = call(port, "PUT", location(go_on) + "&digest=" + sha256("hello world!").str(),
                        "!", fields({{"Content-Range", "11-11"}}));
  EXPECT_EQ(put.status, 201);
}

TEST_F(UploadsTest, AnOldTokenIsOutOfOrder) {
  const uint16_t port = start();
  const std::string old = begin(port);
  const std::string url = location(call(port, "PATCH", old, "hello"));
  EXPECT_EQ(call(port, "PATCH", old, "again").status, 416);
  EXPECT_EQ(call(port, "GET", old).status, 204);
  EXPECT_EQ(call(port, "PATCH", without_state(url), " world").status, 202) << "no token at all";
}

TEST_F(UploadsTest, ATokenOfAnotherUploadIsRefused) {
  const uint16_t port = start();
  const std::string url = begin(port);
  const std::string state = url.substr(url.find('?'));
  const std::string other = without_state(begin(port));
  const std::string elsewhere = without_state(begin(port, "b"));
  std::string forged = url;
  forged[url.find("_state=") + 10] ^= 1;
  for (const std::string& bad : {other + state, elsewhere + state, forged, url + "x"}) {
    for (const char* method : {"GET", "PATCH", "DELETE"}) {
      const auto answer = call(port, method, bad, method[0] == 'P' ? "x" : "");
      EXPECT_EQ(answer.status, 404) << method << " " << bad;
      EXPECT_EQ(error_code(answer), "BLOB_UPLOAD_INVALID");
    }
  }
}

TEST_F(UploadsTest, ABodyThatBeliesItsContentRangeIsForgotten) {
  const uint16_t port = start();
  const std::string url = location(call(port, "PATCH", begin(port), "hello"));
  const auto disagree = call(port, "PATCH", url, "abc", fields({{"Content-Range", "5-10"}}));
  EXPECT_EQ(disagree.status, 400);
  EXPECT_EQ(error_code(disagree), "SIZE_INVALID");
  for (const std::string body : {"3\r\nabc\r\n0\r\n\r\n", "9\r\nabcdefghi\r\n0\r\n\r\n"}) {
    test::RawClient client(port);
    client.send("PATCH " + url +
                " HTTP/1.1\r\nHost: x\r\nContent-Range: 5-9\r\nTransfer-Encoding: chunked\r\n\r\n" +
                body);
    EXPECT_EQ(client.response().status, 400);
    EXPECT_EQ(call(port, "GET", url).header("Range"), "0-4");
  }
  EXPECT_EQ(call(port, "PUT", url + "&digest=" + sha256("hello").str()).status, 201);
}

TEST_F(UploadsTest, ABodyThatBreaksOffIsKeptAsFarAsItCame) {
  const uint16_t port = start();
  const std::string url = begin(port);
  {
    test::RawClient client(port);
    client.send("PATCH " + url + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhello");
    client.shut_down_write();
    std::string rest;
    client.wait_for_end(&rest);
  }
  const auto status = call(port, "GET", without_state(url));
  EXPECT_EQ(status.header("Range"), "0-4");
  EXPECT_TRUE(fs::exists(layout().upload_hash_state("a", id(url), 5)));
  const auto patch = call(port, "PATCH", location(status), " world");
  EXPECT_EQ(patch.status, 202);
  EXPECT_EQ(call(port, "PUT", location(patch) + "&digest=" + sha256("hello world").str()).status,
            201);
}

TEST_F(UploadsTest, TwoRequestsDoNotWriteOneUpload) {
  const uint16_t ports[] = {start(), start()};
  const std::string url = begin(ports[0]);
  test::RawClient first(ports[0]);
  // The first is known to hold the upload once it is told to send.
  first.send("PATCH " + url +
             " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(first.response().status, 100);
  for (const char* method : {"PATCH", "DELETE"}) {
    const auto second = call(ports[1], method, url, method[0] == 'P' ? "other" : "");
    EXPECT_EQ(second.status, 503) << method;
    EXPECT_EQ(second.header("Retry-After"), "5") << method;
    EXPECT_EQ(error_code(second), "UNAVAILABLE");
  }
  first.send("hello");
  const auto patch = first.response();
  EXPECT_EQ(patch.status, 202);
  EXPECT_EQ(call(ports[1], "PUT", without_state(url) + "?digest=" + sha256("hello").str()).status,
            201);
}

TEST_F(UploadsTest, AWrongDigestCanBePutRight) {
  const uint16_t port = start();
  const std::string url = location(call(port, "PATCH", begin(port), "hello"));
  for (const std::string& bad :
       {"&digest=" + sha256("other").str(), std::string("&digest=sha256:x"),
        std::string("&digest="), std::string("")}) {
    const auto answer = call(port, "PUT", url + bad);
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_EQ(error_code(answer), "DIGEST_INVALID") << bad;
  }
  EXPECT_EQ(call(port, "PUT", url + "&digest=" + sha256("hello").str()).status, 201);
}

TEST_F(UploadsTest, ASha512BlobIsNamedAsItWasAskedFor) {
  const uint16_t port = start();
  const std::string url = location(call(port, "PATCH", begin(port), "hello"));
  const oci::Digest digest = sha512("hello");
  const auto put = call(port, "PUT", url + "&digest=" + digest.str());
  EXPECT_EQ(put.status, 201);
  EXPECT_EQ(put.header("Docker-Content-Digest"), digest.str());
  const auto get = call(port, "GET", location(put));
  EXPECT_EQ(get.body, "hello");
  EXPECT_EQ(get.header("Docker-Content-Digest"), digest.str());
  EXPECT_EQ(get.header("ETag"), '"' + digest.str() + '"');
}

// Hashed as it comes: what the file has is not read again.
TEST_F(UploadsTest, TheClientSaysEarlyThatItIsASha512) {
  const uint16_t port = start();
  const std::string url =
      location(call(port, "POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512"));
  std::string next = location(call(port, "PATCH", url, "hel"));
  EXPECT_TRUE(fs::exists(layout().upload("a", id(url)) / "hashstates/sha512/3"));
  next = location(call(port, "GET", next));
  EXPECT_EQ(call(port, "PUT", next + "&digest=" + sha512("hello").str(), "lo").status, 201);
  EXPECT_EQ(call(port, "GET", "/v2/a/blobs/" + sha512("hello").str()).body, "hello");

  next = location(call(port, "POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512"));
  EXPECT_EQ(call(port, "PUT", next + "&digest=" + sha256("other").str(), "other").status, 201);
  const auto unknown = call(port, "POST", "/v2/a/blobs/uploads/?digest-algorithm=md5");
  EXPECT_EQ(unknown.status, 202);
}

// One thread for what takes a moment, and one for what takes as long as a blob is large.
class WholeBlobsTest : public UploadsTest {
 protected:
  // Runs the request, which waits where it does this to the file with that text in its path, and
  // sees that others are answered meanwhile.
  template <typename Request>
  void expect_others_served(uint16_t port, const std::string& operation, const std::string& file,
                            const Request& request) {
    std::latch hangs(1);
    std::latch go_on(1);
    bool first = true;
    const base::InjectedFault storage(operation, [&](std::string_view path) {
      if (path.find(file) == std::string_view::npos || !std::exchange(first, false)) return 0;
      hangs.count_down();
      go_on.wait();
      return 0;
    });
    std::jthread client(request);
    hangs.wait();
    test::RawClient other(port);
    other.send("GET /v2/a/manifests/t HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(other.readable());
    go_on.count_down();
    EXPECT_EQ(other.response().status, 200);
  }
  uint16_t start_small() {
    Config c = config();
    c.threads = 1;
    c.upload_purging.enabled = false;
    const uint16_t port = start(std::move(c)).port();
    push_image(port, "a", "t", "layer");
    return port;
  }
  const std::string large_ = bytes(5 << 20);
};

TEST_F(WholeBlobsTest, ABlobThatIsThereAlreadyHoldsUpNobody) {
  const uint16_t port = start_small();
  push_blob(port, "a", large_);
  expect_others_served(port, "open", sha256(large_).hex(), [&] { push_blob(port, "a", large_); });
}

TEST_F(WholeBlobsTest, AnUploadOfAHolderThatDiedHoldsUpNobody) {
  const uint16_t port = start_small();
  const std::string url = location(call(port, "PATCH", begin(port), large_));
  const fs::path lease = layout().upload_lease("a", id(url));
  write(lease, "another host");
  fs::last_write_time(lease, fs::file_time_type::clock::now() - 2 * UploadLease::kLeaseTime);
  expect_others_served(port, "create", id(url) + "/data.",
                       [&] { EXPECT_EQ(call(port, "PATCH", url, "more").status, 202); });
}

TEST_F(UploadsTest, Cancel) {
  const uint16_t port = start();
  const std::string url = begin(port);
  const auto cancelled = call(port, "DELETE", url);
  EXPECT_EQ(cancelled.status, 204);
  EXPECT_EQ(cancelled.header("Docker-Upload-UUID"), id(url));
  for (const char* method : {"DELETE", "GET", "PATCH"}) {
    const auto answer = call(port, method, url);
    EXPECT_EQ(answer.status, 404) << method;
    EXPECT_EQ(error_code(answer), "BLOB_UPLOAD_UNKNOWN") << method;
  }
  EXPECT_FALSE(fs::exists(layout().upload("a", id(url))));
}

TEST_F(UploadsTest, Mount) {
  const uint16_t port = start();
  const std::string digest = push_blob(port, "a", "bytes").str();
  const std::string target = "/v2/b/blobs/uploads/?mount=" + digest;
  const auto unknown_source = call(port, "POST", target + "&from=c");
  EXPECT_EQ(unknown_source.status, 202);
  EXPECT_EQ(call(port, "GET", "/v2/b/blobs/" + digest).status, 404);
  const auto mounted = call(port, "POST", target + "&from=a");
  EXPECT_EQ(mounted.status, 201);
  EXPECT_EQ(location(mounted), "/v2/b/blobs/" + digest);
  EXPECT_EQ(mounted.header("Docker-Content-Digest"), digest);
  expect_blob(port, "b", "bytes");
  EXPECT_EQ(call(port, "POST", "/v2/c/blobs/uploads/?mount=" + digest).status, 201);
  expect_blob(port, "c", "bytes");
  for (const std::string& bad :
       {sha256("unknown").str() + "&from=a", std::string("sha256:x&from=a"), sha256("z").str(),
        digest + "&from=../a"}) {
    EXPECT_EQ(call(port, "POST", "/v2/d/blobs/uploads/?mount=" + bad).status, 202) << bad;
  }
}

TEST_F(UploadsTest, LocationsAreWhatTheClientSees) {
  Config c = config();
  const uint16_t port = start(c).port();
  const auto forwarded =
      call(port, "POST", "/v2/a/blobs/uploads/", "",
           fields({{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "registry.example"}}));
  EXPECT_TRUE(forwarded.header("Location").starts_with("https://registry.example/v2/a/blobs/"));
  c.host = "https://configured.example";
  const auto configured = call(start(c).port(), "POST", "/v2/a/blobs/uploads/");
  EXPECT_TRUE(configured.header("Location").starts_with("https://configured.example/v2/a/"));
  c.relative_urls = true;
  const auto relative = call(start(c).port(), "POST", "/v2/a/blobs/uploads/");
  EXPECT_TRUE(relative.header("Location").starts_with("/v2/a/blobs/uploads/"));
}

TEST_F(UploadsTest, EverythingIsBelowThePrefix) {
  Config c = config();
  c.prefix = "/registry";
  c.relative_urls = true;
  const uint16_t port = start(c).port();
  EXPECT_EQ(call(port, "GET", "/registry/v2/").status, 200);
  EXPECT_EQ(call(port, "GET", "/v2/").status, 404);
  EXPECT_EQ(call(port, "GET", "/registryv2/").status, 404);
  EXPECT_EQ(call(port, "GET", "/").status, 200);
  const auto post = call(port, "POST", "/registry/v2/a/blobs/uploads/");
  EXPECT_TRUE(post.header("Location").starts_with("/registry/v2/a/blobs/uploads/"));
  const auto put = call(port, "PUT", location(post) + "&digest=" + sha256("hello").str(), "hello");
  EXPECT_EQ(put.status, 201);
  EXPECT_EQ(call(port, "GET", put.header("Location")).body, "hello");
  call(port, "POST", "/registry/v2/b/blobs/uploads/?mount=" + sha256("hello").str());
  EXPECT_EQ(call(port, "GET", "/registry/v2/_catalog?n=1").header("Link"),
            "</registry/v2/_catalog?last=a&n=1>; rel=\"next\"");
}

TEST(ContentRange, Parsing) {
  const auto chunk = api::parse_content_range("5-9");
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->first, 5U);
  EXPECT_EQ(chunk->length, 5U);
  EXPECT_TRUE(api::parse_content_range("bytes 0-0/100"));
  for (const char* bad : {"", "-", "5-", "-5", "9-5", "5-9x", "a-b", "5 -9", "bytes=5-9",
                          "0-18446744073709551615", "99999999999999999999-1", "+1-2"}) {
    EXPECT_FALSE(api::parse_content_range(bad)) << bad;
  }
}

}  // namespace
}  // namespace origin

// Pulling and deleting blobs.
#include <atomic>
#include <cerrno>
#include <filesystem>

#include "base/fault_point.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/log_capture.h"

namespace origin {
namespace {

class BlobsTest : public RegistryTest {
 protected:
  static std::string path(const std::string& content, const std::string& repository = "a") {
    return "/v2/" + repository + "/blobs/" + sha256(content).str();
  }
};

TEST_F(BlobsTest, GetAndHead) {
  Config c = config();
  c.headers.add("Vary", "Accept");
  const uint16_t port = start(c).port();
  const std::string digest = push_blob(port, "a", "some bytes").str();
  for (const char* method : {"GET", "HEAD"}) {
    const auto answer = call(port, method, path("some bytes"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, method[0] == 'G' ? "some bytes" : "");
    EXPECT_EQ(answer.header("Content-Length"), "10");
    EXPECT_EQ(answer.header("Content-Type"), "application/octet-stream");
    EXPECT_EQ(answer.header("Docker-Content-Digest"), digest);
    EXPECT_EQ(answer.header("ETag"), '"' + digest + '"');
    EXPECT_EQ(answer.header("Accept-Ranges"), "bytes");
    EXPECT_EQ(answer.header("Cache-Control"), "max-age=31536000, immutable");
    EXPECT_EQ(answer.header("Docker-Distribution-Api-Version"), "registry/2.0");
    EXPECT_EQ(answer.header("Vary"), "Accept");
  }
}

TEST_F(BlobsTest, RangesAndConditions) {
  Config c = config();
  c.headers.add("X-Configured", "yes");
  c.headers.add("Cache-Control", "public");
  const uint16_t port = start(std::move(c)).port();
  push_blob(port, "a", "0123456789");
  const auto range = call(port, "GET", path("0123456789"), "", fields({{"Range", "bytes=2-4"}}));
  EXPECT_EQ(range.status, 206);
  EXPECT_EQ(range.body, "234");
  EXPECT_EQ(range.header("Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(range.header("Docker-Content-Digest"), sha256("0123456789").str());
  const auto beyond = call(port, "GET", path("0123456789"), "", fields({{"Range", "bytes=10-"}}));
  EXPECT_EQ(beyond.status, 416);
  EXPECT_TRUE(beyond.complete);
  EXPECT_EQ(beyond.header("Content-Range"), "bytes */10");
  EXPECT_EQ(beyond.header("Cache-Control"), "no-store");
  EXPECT_EQ(beyond.header("Docker-Content-Digest"), "");
  const std::string etag = '"' + sha256("0123456789").str() + '"';
  const auto same = call(port, "GET", path("0123456789"), "", fields({{"If-None-Match", etag}}));
  EXPECT_EQ(same.status, 304);
  EXPECT_EQ(same.header("ETag"), etag);
  for (const auto& answer : {range, beyond, same}) {
    EXPECT_EQ(answer.header("Docker-Distribution-Api-Version"), "registry/2.0") << answer.status;
    EXPECT_EQ(answer.header("X-Configured"), "yes") << answer.status;
  }
}

TEST_F(BlobsTest, ABlobIsOfItsRepository) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "t", "layer");
  for (const std::string& target : {path("unknown"), path("layer", "b"), path(manifest)}) {
    const auto answer = call(port, "GET", target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_EQ(error_code(answer), "BLOB_UNKNOWN") << target;
    EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  }
}

TEST_F(BlobsTest, WhatTheStorageHasLostIsAbsent) {
  const uint16_t port = start();
  push_blob(port, "a", "bytes");
  write(layout().layer_link("a", sha256("garbled")), "sha256:");
  EXPECT_EQ(call(port, "GET", path("garbled")).status, 404);
  std::filesystem::remove(layout().blob(sha256("bytes")));
  EXPECT_EQ(call(port, "GET", path("bytes")).status, 404);
  // A directory where the link's file should be is no link either.
  std::filesystem::create_directories(layout().layer_link("a", sha256("odd")));
  EXPECT_EQ(call(port, "GET", path("odd")).status, 404);
}

TEST_F(BlobsTest, WhatCannotBeReadStandsInNoPushsWay) {
  const uint16_t port = start();
  const std::string digest = push_blob(port, "a", "bytes").str();
  const std::string file = sha256("bytes").hex() + "/data";
  for (const std::string& unreadable :
       {file, "repositories/a/_layers/sha256/" + sha256("bytes").hex()}) {
    const base::InjectedFault fault("open", EIO, unreadable);
    EXPECT_EQ(call(port, "GET", path("bytes")).status, 500) << unreadable;
    // The client sends it, as it does what cannot be mounted.
    EXPECT_EQ(call(port, "POST", "/v2/b/blobs/uploads/?from=a&mount=" + digest).status, 202)
        << unreadable;
  }
  {
    const base::InjectedFault fault("open", EIO, file);
    push_blob(port, "b", "bytes");
  }
  for (const char* repository : {"a", "b"}) {
    EXPECT_EQ(call(port, "GET", path("bytes", repository)).body, "bytes") << repository;
  }
}

TEST_F(BlobsTest, APushSaysWhyItReplacesWhatIsThere) {
  const uint16_t port = start();
  const oci::Digest digest = push_blob(port, "a", "bytes");
  test::LogCapture log;
  write(layout().blob(digest), "other");
  push_blob(port, "a", "bytes");
  EXPECT_EQ(log.count("5 bytes in the storage that are not its own, replaced"), 1U);
  {
    std::atomic<int> opened = 0;  // for its size, then for its bytes
    const base::InjectedFault fault("open", [&](std::string_view path) {
      return path == layout().blob(digest).string() && opened++ == 1 ? EIO : 0;
    });
    push_blob(port, "a", "bytes");
  }
  EXPECT_EQ(log.count("5 bytes in the storage that could not be read, replaced"), 1U) << log.text();
  EXPECT_EQ(log.count("not its own"), 1U);
}

TEST_F(BlobsTest, Delete) {
  const uint16_t port = start();
  push_blob(port, "a", "bytes");
  push_blob(port, "b", "bytes");
  EXPECT_EQ(call(port, "DELETE", path("bytes")).status, 202);
  EXPECT_EQ(call(port, "HEAD", path("bytes")).status, 404);
  EXPECT_EQ(call(port, "DELETE", path("bytes")).status, 404);
  EXPECT_EQ(call(port, "GET", path("bytes", "b")).body, "bytes");
}

TEST_F(BlobsTest, DeleteMustBeEnabled) {
  Config c = config();
  c.delete_enabled = false;
  const uint16_t port = start(c).port();
  push_image(port, "a", "t", "bytes");
  for (const std::string& target : {path("bytes"), std::string("/v2/a/manifests/t")}) {
    const auto answer = call(port, "DELETE", target);
    EXPECT_EQ(answer.status, 405);
    EXPECT_EQ(error_code(answer), "UNSUPPORTED");
  }
  EXPECT_EQ(call(port, "GET", path("bytes")).status, 200);
}

TEST_F(BlobsTest, TheEdgeIsWhereClientsAreSent) {
  Config c = config();
  c.redirect.url = "https://cdn.example";
  c.redirect.bearer = "secret";
  c.redirect.networks = {*http::Network::parse("203.0.113.0/24")};
  c.limits.trusted_proxies.networks = {*http::Network::parse("127.0.0.1")};
  const uint16_t port = start(c).port();
  push_blob(port, "a", "bytes");
  const auto redirect = call(port, "GET", path("bytes") + "?x=y");
  EXPECT_EQ(redirect.status, 302);
  EXPECT_EQ(redirect.header("Location"), "https://cdn.example" + path("bytes") + "?x=y");
  EXPECT_EQ(redirect.body, "");
  EXPECT_EQ(call(port, "HEAD", path("bytes")).status, 200);
  EXPECT_EQ(call(port, "GET", path("unknown")).status, 404);
  EXPECT_EQ(call(port, "GET", path("bytes"), "", fields({{"Authorization", "Bearer secret"}})).body,
            "bytes");
  EXPECT_EQ(call(port, "GET", path("bytes"), "", fields({{"X-Forwarded-For", "203.0.113.9"}})).body,
            "bytes");
  // What looks like a blob and is an upload is never redirected.
  const auto upload = call(port, "POST", "/v2/a/blobs/uploads/");
  EXPECT_EQ(call(port, "GET", location(upload)).status, 204);
  c.redirect.status = 307;
  EXPECT_EQ(call(start(c).port(), "GET", path("bytes")).status, 307);
}

TEST_F(BlobsTest, AReloadChangesTheKeyThatSigns) {
  Config c = config();
  c.redirect.url = "https://cdn.example";
  c.redirect.signature = RedirectSignature{.keys = {{"old", "0123456789abcdef"}}};
  Registry& registry = start(c);
  push_blob(registry.port(), "a", "bytes");
  const auto key_of = [&] {
    const auto answer = call(registry.port(), "GET", path("bytes"));
    EXPECT_EQ(answer.status, 302);
    EXPECT_EQ(answer.header("Cache-Control"), "no-store");
    const std::string url = answer.header("Location");
    const std::string begin = "https://cdn.example" + path("bytes") + "?entrepot-signature=";
    EXPECT_TRUE(url.starts_with(begin)) << url;
    return url.substr(begin.size(), 3);
  };
  EXPECT_EQ(key_of(), "old");
  c.redirect.signature->keys.insert(c.redirect.signature->keys.begin(),
                                    {"new", "fedcba9876543210"});
  registry.reload(c);
  EXPECT_EQ(key_of(), "new");
}

}  // namespace
}  // namespace origin

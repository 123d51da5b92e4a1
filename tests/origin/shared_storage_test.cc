// Two replicas, each a process of its own that sees the storage as an NFSv3 client of its own would
// (tests/support/nfs_caching.h: names and attributes are believed for ever): what one has
// acknowledged, the other goes by at once.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <memory>
#include <thread>

#include "base/durable_file.h"
#include "origin/storage/layout.h"
#include "tests/origin/client.h"
#include "tests/support/nfs_mount.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using Strings = std::vector<std::string>;

std::string blob(const std::string& bytes) { return "/v2/a/blobs/" + sha256(bytes).str(); }
std::string manifest(const std::string& reference) { return "/v2/a/manifests/" + reference; }
int status(uint16_t port, const std::string& method, const std::string& target) {
  return call(port, method, target).status;
}
std::string get(uint16_t port, const std::string& target) {
  const auto answer = call(port, "GET", target);
  return answer.status == 200 ? answer.body : std::to_string(answer.status);
}
Strings tags(uint16_t port) { return strings(call(port, "GET", "/v2/a/tags/list"), "tags"); }
Strings catalog(uint16_t port) {
  return strings(call(port, "GET", "/v2/_catalog"), "repositories");
}
Strings referrers(uint16_t port, const oci::Digest& subject) {
  Strings types;
  const std::string body = get(port, "/v2/a/referrers/" + subject.str());
  static constexpr std::string_view kKey = R"("artifactType":")";
  for (size_t at = body.find(kKey); at != std::string::npos; at = body.find(kKey, at)) {
    at += kKey.size();
    types.push_back(body.substr(at, body.find('"', at) - at));
  }
  return types;
}

class SharedStorageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::NfsMount::unavailable(); !why.empty()) GTEST_SKIP() << why;
    std::filesystem::create_directory(root());
    a_ = start();
    b_ = start();
  }

  uint16_t start(const std::string& more = "") {
    const auto config = dir_.write("config.yml",
                                   "version: 0.1\n"
                                   "log: {accesslog: {disabled: true}}\n"
                                   "storage:\n"
                                   "  filesystem: {rootdirectory: " +
                                       root().string() +
                                       "}\n"
                                       "  delete: {enabled: true}\n"
                                       "http: {addr: '127.0.0.1:0', draintimeout: 5s}\n"
                                       "server: {loops: 1, threads: 4}\n" +
                                       more);
    hosts_.push_back(std::make_unique<test::NfsMount>(
        root(), Strings{ORIGIN_PROGRAM, "serve", config.string()}));
    return hosts_.back()->listening_port();
  }
  // The storage itself, as its server has it.
  std::filesystem::path root() const { return dir_.path() / "data"; }
  Layout layout() const { return Layout(root()); }

  // Runs both at once, in step at the beginning of each round.
  template <typename Turn>
  void at_once(int rounds, const Turn& turn) {
    std::barrier together(2);
    const auto run = [&](uint16_t port) {
      for (int round = 0; round < rounds; ++round) {
        together.arrive_and_wait();
        turn(port, round);
      }
    };
    std::thread other([&] { run(b_); });
    run(a_);
    other.join();
  }

  test::TempDir dir_;
  std::vector<std::unique_ptr<test::NfsMount>> hosts_;
  uint16_t a_ = 0;
  uint16_t b_ = 0;
};

TEST_F(SharedStorageTest, WhatWasMissingIsThereOnceTheOtherReplicaHasIt) {
  const oci::Digest config = push_blob(a_, "a", "{}");
  const std::string bytes = image(config, {sha256("layer")});
  for (const char* method : {"GET", "HEAD"}) {
    EXPECT_EQ(status(b_, method, blob("layer")), 404);
    EXPECT_EQ(status(b_, method, manifest(sha256(bytes).str())), 404);
    EXPECT_EQ(status(b_, method, manifest("tag")), 404);
  }
  push_blob(a_, "a", "layer");
  EXPECT_EQ(status(b_, "HEAD", blob("layer")), 200);
  EXPECT_EQ(get(b_, blob("layer")), "layer");
  EXPECT_EQ(push_manifest(a_, "a", sha256(bytes).str(), bytes).status, 201);
  EXPECT_EQ(get(b_, manifest(sha256(bytes).str())), bytes);
  EXPECT_EQ(status(b_, "HEAD", manifest("tag")), 404);
  EXPECT_EQ(push_manifest(a_, "a", "tag", bytes).status, 201);
  EXPECT_EQ(status(b_, "HEAD", manifest("tag")), 200);
  EXPECT_EQ(get(b_, manifest("tag")), bytes);
}

TEST_F(SharedStorageTest, ARepositoryThatWasMissingIsThere) {
  EXPECT_EQ(status(b_, "GET", "/v2/a/tags/list"), 404);
  EXPECT_EQ(status(b_, "GET", manifest("tag")), 404);
  EXPECT_EQ(status(b_, "GET", blob("layer")), 404);
  EXPECT_EQ(catalog(b_), Strings{});
  const std::string bytes = push_image(a_, "a", "tag", "layer");
  EXPECT_EQ(get(b_, manifest("tag")), bytes);
  EXPECT_EQ(get(b_, blob("layer")), "layer");
  EXPECT_EQ(tags(b_), Strings{"tag"});
  EXPECT_EQ(catalog(b_), Strings{"a"});
}

// What a crash may leave: links without what they lead to.
TEST_F(SharedStorageTest, BytesThatWereLostAreThereOnceTheyArePushedAgain) {
  const std::string bytes = push_image(a_, "a", "tag", "layer");
  for (const std::string& lost : {bytes, std::string("layer")}) {
    std::filesystem::remove_all(layout().blob(sha256(lost)).parent_path());
  }
  EXPECT_EQ(status(b_, "GET", manifest("tag")), 404);
  EXPECT_EQ(status(b_, "GET", blob("layer")), 404);
  EXPECT_EQ(push_image(a_, "a", "tag", "layer"), bytes);
  EXPECT_EQ(get(b_, manifest("tag")), bytes);
  EXPECT_EQ(get(b_, blob("layer")), "layer");
}

TEST_F(SharedStorageTest, WhatWasMissingCanBeUsedInAPush) {
  EXPECT_EQ(status(b_, "HEAD", blob("layer")), 404);
  EXPECT_EQ(status(b_, "HEAD", "/v2/b/blobs/" + sha256("layer").str()), 404);
  EXPECT_EQ(status(b_, "HEAD", blob("{}")), 404);
  push_blob(a_, "a", "{}");
  push_blob(a_, "a", "layer");
  const std::string bytes = image(sha256("{}"), {sha256("layer")});
  EXPECT_EQ(push_manifest(b_, "a", "tag", bytes).status, 201);
  EXPECT_EQ(get(a_, manifest("tag")), bytes);
  EXPECT_EQ(status(b_, "POST", "/v2/b/blobs/uploads/?from=a&mount=" + sha256("layer").str()), 201);
  EXPECT_EQ(get(a_, "/v2/b/blobs/" + sha256("layer").str()), "layer");
}

TEST_F(SharedStorageTest, AMovedTagIsSeenMovedAtOnce) {
  const std::array<uint16_t, 2> ports{a_, b_};
  for (size_t i = 0; i < 10; ++i) {
    const std::string bytes = push_image(ports.at(i % 2), "a", "tag", std::to_string(i));
    for (const uint16_t port : ports) {
      EXPECT_EQ(call(port, "HEAD", manifest("tag")).header("Docker-Content-Digest"),
                sha256(bytes).str());
      EXPECT_EQ(get(port, manifest("tag")), bytes);
    }
  }
}

TEST_F(SharedStorageTest, ATagIsReadWholeWhileItMoves) {
  constexpr int kMoves = 30;
  Strings images;
  for (const char* content : {"one", "two"}) images.push_back(push_image(a_, "a", "tag", content));
  std::atomic<bool> done = false;
  std::thread reader([&] {
    while (!done) {
      const std::string seen = get(b_, manifest("tag"));
      EXPECT_TRUE(seen == images[0] || seen == images[1]) << seen;
    }
  });
  for (int i = 0; i < kMoves; ++i) {
    EXPECT_EQ(push_manifest(a_, "a", "tag", images[i % 2]).status, 201);
  }
  done = true;
  reader.join();
}

TEST_F(SharedStorageTest, WhatOneDeletesIsGoneForTheOther) {
  for (int round = 0; round < 3; ++round) {
    const std::string bytes = push_image(a_, "a", "tag", "layer");
    EXPECT_EQ(push_manifest(a_, "a", "other", bytes).status, 201);
    for (const std::string& target :
         {manifest("other"), manifest("tag"), manifest(sha256(bytes).str()), blob("layer")}) {
      EXPECT_EQ(status(b_, "GET", target), 200);
    }
    EXPECT_EQ(status(a_, "DELETE", manifest("other")), 202);
    EXPECT_EQ(status(b_, "GET", manifest("other")), 404);
    EXPECT_EQ(status(b_, "DELETE", manifest("other")), 404);
    EXPECT_EQ(get(b_, manifest("tag")), bytes);
    EXPECT_EQ(status(a_, "DELETE", manifest(sha256(bytes).str())), 202);
    EXPECT_EQ(status(a_, "DELETE", blob("layer")), 202);
    for (const std::string& target :
         {manifest("tag"), manifest(sha256(bytes).str()), blob("layer")}) {
      for (const char* method : {"GET", "HEAD", "DELETE"}) {
        EXPECT_EQ(status(b_, method, target), 404) << method << ' ' << target;
      }
    }
  }
}

TEST_F(SharedStorageTest, WhatWasMissingCanBeDeleted) {
  const std::string bytes = image(sha256("{}"), {sha256("layer")});
  const Strings targets{manifest("tag"), manifest(sha256(bytes).str()), blob("layer")};
  push_image(a_, "a", "another", "other layer");
  for (const std::string& target : targets) EXPECT_EQ(status(b_, "DELETE", target), 404);
  push_image(a_, "a", "tag", "layer");
  for (const std::string& target : targets) EXPECT_EQ(status(b_, "DELETE", target), 202) << target;
  for (const std::string& target : targets) EXPECT_EQ(status(a_, "GET", target), 404);
}

TEST_F(SharedStorageTest, BothListWhatEitherHasDone) {
  const std::string subject = push_image(a_, "a", "one", "1");
  const std::string sbom =
      image(sha256("{}"), {},
            R"(,"artifactType":"text/sbom","subject":{"mediaType":"x","digest":")" +
                sha256(subject).str() + R"(","size":1})");
  for (const uint16_t port : {a_, b_}) {
    EXPECT_EQ(tags(port), Strings{"one"});
    EXPECT_EQ(catalog(port), Strings{"a"});
    EXPECT_EQ(referrers(port, sha256(subject)), Strings{});
  }
  push_image(b_, "a", "two", "2");
  push_image(b_, "c/d", "tag", "2");
  EXPECT_EQ(push_manifest(b_, "a", sha256(sbom).str(), sbom).status, 201);
  for (const uint16_t port : {a_, b_}) {
    EXPECT_EQ(tags(port), (Strings{"one", "two"}));
    EXPECT_EQ(catalog(port), (Strings{"a", "c/d"}));
    EXPECT_EQ(referrers(port, sha256(subject)), Strings{"text/sbom"});
  }
  EXPECT_EQ(status(a_, "DELETE", manifest("two")), 202);
  EXPECT_EQ(status(a_, "DELETE", manifest(sha256(sbom).str())), 202);
  for (const uint16_t port : {a_, b_}) {
    EXPECT_EQ(tags(port), Strings{"one"});
    EXPECT_EQ(referrers(port, sha256(subject)), Strings{});
  }
}

TEST_F(SharedStorageTest, ATagThatIsDeletedWhileItIsReadIsListedNoMore) {
  push_image(a_, "a", "tag", "layer");
  EXPECT_EQ(tags(b_), Strings{"tag"});
  {
    // A request of the same host has the link open: it stays under another name until that ends,
    // and keeps the tag's directory.
    const auto link = std::filesystem::relative(layout().tag_current_link("a", "tag"), root());
    const base::UniqueFd open = base::open_file(hosts_[0]->seen(link), O_RDONLY);
    EXPECT_TRUE(open);
    EXPECT_EQ(status(a_, "DELETE", manifest("tag")), 202);
    EXPECT_EQ(status(a_, "GET", manifest("tag")), 404);
  }
  // The host hears of the close after it, and removes the other name only then.
  const std::filesystem::path current = layout().tag_current_link("a", "tag").parent_path();
  while (!std::filesystem::is_empty(current)) std::this_thread::yield();
  EXPECT_EQ(tags(b_), Strings{});
  EXPECT_EQ(tags(a_), Strings{});
}

TEST_F(SharedStorageTest, AnUploadGoesOnWhereItWasNotKnown) {
  // Neither the repository's uploads nor any of them has been there.
  EXPECT_EQ(status(b_, "GET", "/v2/a/blobs/uploads/4b5bb6f5-cd4d-4d5c-a3a0-000000000000"), 404);
  std::string url = location(call(a_, "POST", "/v2/a/blobs/uploads/"));
  std::string bytes;
  for (const uint16_t port : {b_, a_, b_, a_, a_, b_}) {
    bytes += "part ";
    const auto patch = call(port, "PATCH", url, "part ");
    EXPECT_EQ(patch.status, 202) << patch.body;
    for (const uint16_t asked : {a_, b_}) {
      EXPECT_EQ(call(asked, "GET", url = location(patch)).header("Range"),
                "0-" + std::to_string(bytes.size() - 1));
    }
  }
  EXPECT_EQ(status(b_, "GET", blob(bytes)), 404);
  EXPECT_EQ(status(a_, "PUT", url + "&digest=" + sha256(bytes).str()), 201);
  EXPECT_EQ(get(b_, blob(bytes)), bytes);
  EXPECT_EQ(status(b_, "GET", url), 404);
}

TEST_F(SharedStorageTest, AnUploadThatOneIsWritingIsNotWrittenByTheOther) {
  std::string url = location(call(a_, "POST", "/v2/a/blobs/uploads/"));
  test::RawClient writer(a_);
  writer.send("PATCH " + url +
              " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(writer.response().status, 100);
  for (const uint16_t port : {a_, b_}) {
    EXPECT_EQ(call(port, "PATCH", url, "two").status, 503);
    EXPECT_EQ(status(port, "DELETE", url), 503);
  }
  writer.send("one");
  EXPECT_EQ(writer.response().status, 202);
  url = location(call(b_, "GET", url.substr(0, url.find('?'))));
  const auto patch = call(b_, "PATCH", url, "two");
  EXPECT_EQ(patch.status, 202) << patch.body;
  EXPECT_EQ(status(a_, "PUT", location(patch) + "&digest=" + sha256("onetwo").str()), 201);
  EXPECT_EQ(get(b_, blob("onetwo")), "onetwo");
}

TEST_F(SharedStorageTest, AnUploadThatTheOtherEndedIsOver) {
  for (const char* end : {"PUT", "DELETE"}) {
    std::string url = location(call(a_, "POST", "/v2/a/blobs/uploads/"));
    url = location(call(b_, "PATCH", url, "bytes"));
    EXPECT_EQ(status(b_, "GET", url), 204);
    EXPECT_LT(status(a_, end, url + "&digest=" + sha256("bytes").str()), 300);
    for (const char* method : {"GET", "PATCH", "DELETE"}) {
      EXPECT_EQ(status(b_, method, url), 404) << method << " after " << end;
    }
  }
}

// Between the last steps of a commit: the data is the blob already, the lease is given back, the
// upload's directory is not removed yet. This host still knows the data by its old name.
TEST_F(SharedStorageTest, ABlobIsNotWrittenUnderTheNameThatItHadAsAnUpload) {
  std::string url = location(call(a_, "POST", "/v2/a/blobs/uploads/"));
  const auto patch = call(b_, "PATCH", url, "bytes");
  url = location(patch);
  EXPECT_EQ(status(b_, "GET", url), 204);
  const auto place = layout().blob(sha256("bytes"));
  std::filesystem::create_directories(place.parent_path());
  std::filesystem::rename(layout().upload_data("a", patch.header("Docker-Upload-UUID")), place);
  EXPECT_EQ(call(b_, "PATCH", url, "more").status, 404);
  EXPECT_EQ(status(b_, "GET", url), 404);
  EXPECT_EQ(base::read_file(place, 100), "bytes");
}

TEST_F(SharedStorageTest, OfTwoPushesAtOnceOneIsThereWhole) {
  constexpr int kRounds = 15;
  const oci::Digest config = push_blob(a_, "a", "{}");
  const auto layer = [](int round) { return "the same " + std::to_string(round); };
  const auto pushed = [&](int round, uint16_t port) {
    return image(config, {sha256(layer(round))},
                 R"(,"annotations":{"by":")" + std::to_string(port) + "\"}");
  };
  std::barrier pushed_both(2);
  at_once(kRounds, [&](uint16_t port, int round) {
    push_blob(port, "a", layer(round));
    EXPECT_EQ(push_manifest(port, "a", "tag", pushed(round, port)).status, 201);
    pushed_both.arrive_and_wait();
    EXPECT_EQ(get(port, blob(layer(round))), layer(round));
    const std::string seen = get(port, manifest("tag"));
    EXPECT_TRUE(seen == pushed(round, a_) || seen == pushed(round, b_)) << seen;
    EXPECT_EQ(seen, get(port == a_ ? b_ : a_, manifest("tag")));
    pushed_both.arrive_and_wait();
  });
}

TEST_F(SharedStorageTest, OfTwoDeletesAtOnceNoneFails) {
  constexpr int kRounds = 15;
  std::atomic<int> deleted = 0;
  std::barrier both(2);
  at_once(kRounds, [&](uint16_t port, int) {
    if (port == a_) push_image(a_, "a", "tag", "layer");
    both.arrive_and_wait();
    const int tag = status(port, "DELETE", manifest("tag"));
    EXPECT_TRUE(tag == 202 || tag == 404) << tag;
    if (tag == 202) ++deleted;
    both.arrive_and_wait();
    EXPECT_EQ(status(port, "GET", manifest("tag")), 404);
    const int layer = status(port, "DELETE", blob("layer"));
    EXPECT_TRUE(layer == 202 || layer == 404) << layer;
  });
  EXPECT_EQ(deleted, kRounds);
}

// A host that deletes and one that pushes take the same directories away and make them anew.
TEST_F(SharedStorageTest, APushGoesThroughWhatTheOtherDeletes) {
  constexpr int kRounds = 15;
  const std::string bytes = push_image(a_, "a", "tag", "layer");
  std::barrier both(2);
  at_once(kRounds, [&](uint16_t port, int) {
    if (port == a_) {
      EXPECT_EQ(push_manifest(a_, "a", "tag", bytes).status, 201);
    } else {
      const int tag = status(b_, "DELETE", manifest("tag"));
      EXPECT_TRUE(tag == 202 || tag == 404) << tag;
    }
    both.arrive_and_wait();
    if (port == a_) EXPECT_EQ(push_manifest(a_, "a", "tag", bytes).status, 201);
    both.arrive_and_wait();
    EXPECT_EQ(get(port, manifest("tag")), bytes);
  });
}

TEST_F(SharedStorageTest, ARedirectAndAHeadFollowTheOtherReplica) {
  const uint16_t c = start("redirect: {url: 'https://cdn.example/'}\n");
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(status(c, "GET", blob("layer")), 404);
    EXPECT_EQ(status(c, "HEAD", blob("layer")), 404);
    push_blob(a_, "a", "layer");
    EXPECT_EQ(call(c, "GET", blob("layer")).header("Location"),
              "https://cdn.example" + blob("layer"));
    EXPECT_EQ(call(c, "HEAD", blob("layer")).header("Content-Length"), "5");
    EXPECT_EQ(status(a_, "DELETE", blob("layer")), 202);
  }
}

}  // namespace
}  // namespace origin

// Pushing, pulling and deleting manifests.
#include <cerrno>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/fault_point.h"
#include "base/yaml_config.h"
#include "oci/manifest.h"
#include "origin/storage/files.h"
#include "tests/origin/registry_fixture.h"
#include "tests/support/log_capture.h"

namespace origin {
namespace {

const std::string kOciType(oci::media_type::kOciManifest);

class ManifestsTest : public RegistryTest {
 protected:
  static std::string path(const std::string& reference, const std::string& repository = "a") {
    return "/v2/" + repository + "/manifests/" + reference;
  }
  static std::string index(const std::vector<oci::Digest>& children) {
    auto array = nlohmann::json::array();
    for (const oci::Digest& child : children) {
      array.push_back({{"mediaType", kOciType}, {"digest", child.str()}, {"size", 1}});
    }
    return R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::kOciIndex) +
           R"(","manifests":)" + array.dump() + "}";
  }
};

TEST_F(ManifestsTest, TheBytesComeBackAsTheyWerePushed) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const std::string manifest = image(config, {}, "  ,\n \"unknown\" : [ 1.50, \"\\u00e9\" ]");
  const std::string digest = sha256(manifest).str();
  const auto put = push_manifest(port, "a", "v1", manifest);
  EXPECT_EQ(put.status, 201) << put.body;
  EXPECT_EQ(location(put), path(digest));
  EXPECT_EQ(put.header("Docker-Content-Digest"), digest);
  for (const std::string& reference : {std::string("v1"), digest}) {
    for (const char* accept : {"*/*", "application/vnd.docker.distribution.manifest.v2+json", ""}) {
      const auto get = call(port, "GET", path(reference), "", fields({{"Accept", accept}}));
      EXPECT_EQ(get.status, 200);
      EXPECT_EQ(get.body, manifest);
      EXPECT_EQ(get.header("Content-Type"), kOciType);
      EXPECT_EQ(get.header("Docker-Content-Digest"), digest);
      EXPECT_EQ(get.header("ETag"), '"' + digest + '"');
    }
    const auto head = call(port, "HEAD", path(reference));
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.header("Content-Length"), std::to_string(manifest.size()));
    EXPECT_EQ(
        call(port, "GET", path(reference), "", fields({{"If-None-Match", '"' + digest + '"'}}))
            .status,
        304);
  }
}

TEST_F(ManifestsTest, EverythingItRefersToMustBeThere) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  push_blob(port, "b", "elsewhere");
  const auto answer =
      push_manifest(port, "a", "t", image(config, {sha256("elsewhere"), sha256("nowhere")}));
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(error_code(answer), "MANIFEST_BLOB_UNKNOWN");
  EXPECT_NE(answer.body.find(sha256("elsewhere").str()), std::string::npos);
  EXPECT_NE(answer.body.find(sha256("nowhere").str()), std::string::npos);
  EXPECT_EQ(answer.body.find(config.str()), std::string::npos);
  EXPECT_EQ(call(port, "GET", path("t")).status, 404);

  const auto sparse = push_manifest(port, "a", "t", index({sha256("no manifest")}));
  EXPECT_EQ(sparse.status, 400);
  EXPECT_EQ(error_code(sparse), "MANIFEST_BLOB_UNKNOWN");
}

TEST_F(ManifestsTest, ASparseIndexWhereChildrenNeedNotBeThere) {
  Config sparse = config();
  sparse.validation.children = Validation::Children::none;
  const uint16_t port = start(sparse).port();
  const std::string missing = index({sha256("no manifest")});
  EXPECT_EQ(push_manifest(port, "a", "t", missing).status, 201);
  EXPECT_EQ(call(port, "GET", path("t")).body, missing);
  EXPECT_EQ(push_manifest(port, "a", "t", image(sha256("no config"), {})).status, 400);
}

TEST_F(ManifestsTest, ChildrenOfTheListedPlatformsMustBeThere) {
  Config listed = config();
  listed.validation.children = Validation::Children::listed;
  listed.validation.platforms = {{.architecture = "amd64", .os = "linux"}};
  const uint16_t port = start(listed).port();
  const auto with_platform = [](std::string_view architecture, std::string_view os) {
    auto json = nlohmann::json::parse(index({sha256("no manifest")}));
    json["manifests"][0]["platform"] = {{"architecture", architecture}, {"os", os}};
    return json.dump();
  };
  EXPECT_EQ(push_manifest(port, "a", "t", with_platform("amd64", "linux")).status, 400);
  EXPECT_EQ(push_manifest(port, "a", "t", with_platform("arm64", "linux")).status, 201);
  EXPECT_EQ(push_manifest(port, "a", "t", with_platform("amd64", "windows")).status, 201);
  EXPECT_EQ(push_manifest(port, "a", "t", index({sha256("no manifest")})).status, 201);
}

TEST_F(ManifestsTest, ASparseImageWhereLayersNeedNotBeThere) {
  Config sparse = config();
  sparse.validation.layers = false;
  const uint16_t port = start(sparse).port();
  const oci::Digest there = push_blob(port, "a", "{}");
  EXPECT_EQ(push_manifest(port, "a", "t", image(there, {sha256("no layer")})).status, 201);
  EXPECT_EQ(push_manifest(port, "a", "u", image(sha256("no config"), {there})).status, 400);
  EXPECT_EQ(push_manifest(port, "a", "u", index({sha256("no manifest")})).status, 400);
}

TEST_F(ManifestsTest, WhatIsNotDistributedNeedNotBeThere) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  std::string manifest = image(config, {sha256("foreign")});
  const std::string layer = "image.layer.v1.tar";
  manifest.replace(manifest.find(layer), layer.size(), "image.layer.nondistributable.v1.tar");
  EXPECT_EQ(push_manifest(port, "a", "t", manifest).status, 201);
}

TEST_F(ManifestsTest, LayersMayHaveOnlyTheUrlsThatAreAllowed) {
  const auto with_urls = [](const oci::Digest& config, const oci::Digest& layer,
                            std::vector<std::string> urls) {
    auto json = nlohmann::json::parse(image(config, {layer}));
    json["layers"][0]["urls"] = std::move(urls);
    return json.dump();
  };
  const test::TempDir dir;
  const base::ConfigFile rules(
      dir.write("rules.yml", "{allow: ['^https://example\\.com/'], deny: [secret]}"));
  Config restricted = config();
  restricted.validation.urls.emplace(rules.root());
  const uint16_t port = start(restricted).port();
  const oci::Digest blob = push_blob(port, "a", "{}");
  const auto push = [&](std::vector<std::string> urls) {
    return push_manifest(port, "a", "t", with_urls(blob, blob, std::move(urls)));
  };
  EXPECT_EQ(push({}).status, 201);
  EXPECT_EQ(push({"https://example.com/1", "https://example.com/2"}).status, 201);
  const auto refused = push({"https://example.com/1", "https://example.com/secret"});
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(error_code(refused), "MANIFEST_INVALID");
  EXPECT_NE(refused.body.find(blob.str()), std::string::npos);
  EXPECT_EQ(refused.body.find("secret"), std::string::npos);

  const uint16_t free = start(config()).port();
  EXPECT_EQ(push_manifest(free, "a", "t", with_urls(blob, blob, {"any thing"})).status, 201);
}

TEST_F(ManifestsTest, AnIndexOfImages) {
  const uint16_t port = start();
  const std::string one = push_image(port, "a", "one", "1");
  const std::string two = push_image(port, "a", "two", "2");
  const std::string both = index({sha256(one), sha256(two)});
  EXPECT_EQ(push_manifest(port, "a", "both", both).status, 201);
  const auto get = call(port, "GET", path("both"));
  EXPECT_EQ(get.body, both);
  EXPECT_EQ(get.header("Content-Type"), oci::media_type::kOciIndex);
}

TEST_F(ManifestsTest, ByDigestOfEitherAlgorithmAndWithTags) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const std::string manifest = image(config, {});
  for (const std::string& digest : {sha256(manifest).str(), sha512(manifest).str()}) {
    const auto put = push_manifest(port, "a", digest + "?tag=x&tag=y", manifest);
    EXPECT_EQ(put.status, 201) << put.body;
    EXPECT_EQ(put.header("Docker-Content-Digest"), digest);
    EXPECT_EQ(put.headers.joined("OCI-Tag"), "x, y");
    EXPECT_EQ(call(port, "GET", path(digest)).header("Docker-Content-Digest"), digest);
    EXPECT_EQ(call(port, "GET", path("y")).header("Docker-Content-Digest"), digest);
  }
  EXPECT_EQ(error_code(push_manifest(port, "a", sha256("other").str(), manifest)),
            "DIGEST_INVALID");
  EXPECT_EQ(error_code(push_manifest(port, "a", "sha256:bad", manifest)), "DIGEST_INVALID");
  EXPECT_EQ(error_code(push_manifest(port, "a", sha256(manifest).str() + "?tag=-", manifest)),
            "TAG_INVALID");
  EXPECT_EQ(error_code(push_manifest(port, "a", "-bad", manifest)), "TAG_INVALID");
}

TEST_F(ManifestsTest, WhatIsNoManifestIsRefused) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  for (const std::string& bad :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}"),
        std::string(R"({"schemaVersion":1,"name":"a"})"),
        image(config, {}, R"(,"manifests":[])")}) {
    const auto answer = call(port, "PUT", path("t"), bad, fields({{"Content-Type", kOciType}}));
    EXPECT_EQ(answer.status, 400) << bad;
    EXPECT_EQ(error_code(answer), "MANIFEST_INVALID") << bad;
  }
  const auto other_type =
      call(port, "PUT", path("t"), image(config, {}),
           fields({{"Content-Type", "application/vnd.docker.distribution.manifest.v2+json"}}));
  EXPECT_EQ(error_code(other_type), "MANIFEST_INVALID");
}

TEST_F(ManifestsTest, UpTo4MiB) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const auto of_size = [&](size_t size) {
    const std::string bare = image(config, {}, R"(,"annotations":{"a":""})");
    return image(config, {},
                 R"(,"annotations":{"a":")" + std::string(size - bare.size(), 'x') + R"("})");
  };
  const std::string largest = of_size(oci::kMaxManifestSize);
  ASSERT_EQ(largest.size(), oci::kMaxManifestSize);
  EXPECT_EQ(push_manifest(port, "a", "t", largest).status, 201);
  EXPECT_TRUE(call(port, "GET", path("t")).body == largest);
  const auto too_large = push_manifest(port, "a", "t", of_size(oci::kMaxManifestSize + 1));
  EXPECT_EQ(too_large.status, 413);
  EXPECT_EQ(error_code(too_large), "MANIFEST_INVALID");
}

TEST_F(ManifestsTest, ATagMoves) {
  const uint16_t port = start();
  const std::string one = push_image(port, "a", "t", "1");
  const std::string two = push_image(port, "a", "t", "2");
  EXPECT_EQ(call(port, "GET", path("t")).body, two);
  EXPECT_EQ(call(port, "GET", path(sha256(one).str())).body, one);
  EXPECT_EQ(content(layout().tag_current_link("a", "t")), sha256(two).str());
}

TEST_F(ManifestsTest, Unknown) {
  const uint16_t port = start();
  push_image(port, "a", "t", "1");
  for (const std::string& target : {path("other"), path("t", "b"), path(sha256("x").str()),
                                    path("-"), path(".."), path(std::string(129, 'x'))}) {
    const auto answer = call(port, "GET", target);
    EXPECT_EQ(answer.status, 404) << target;
    EXPECT_EQ(error_code(answer), "MANIFEST_UNKNOWN") << target;
  }
  EXPECT_EQ(error_code(call(port, "GET", path("sha256:bad"))), "DIGEST_INVALID");
  // A blob is not a manifest, even where its digest is known.
  EXPECT_EQ(call(port, "GET", path(sha256("1").str())).status, 404);
}

TEST_F(ManifestsTest, DeletingATagLeavesTheManifest) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "t", "1");
  EXPECT_EQ(call(port, "DELETE", path("t")).status, 202);
  EXPECT_EQ(call(port, "HEAD", path("t")).status, 404);
  EXPECT_EQ(error_code(call(port, "DELETE", path("t"))), "MANIFEST_UNKNOWN");
  EXPECT_EQ(call(port, "GET", path(sha256(manifest).str())).body, manifest);
}

TEST_F(ManifestsTest, DeletingAManifestTakesItsTagsAlong) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "one", "1");
  push_manifest(port, "a", "two", manifest);
  push_image(port, "a", "three", "3");
  // What a crash of another program left does not stand in the way.
  write(layout().tag_current_link("a", "broken"), "");
  write(layout().revision_link("a", sha256("broken")), "");
  const std::string digest = sha256(manifest).str();
  EXPECT_EQ(call(port, "DELETE", path(digest)).status, 202);
  EXPECT_EQ(call(port, "GET", path(digest)).status, 404);
  EXPECT_EQ(call(port, "DELETE", path(digest)).status, 404);
  EXPECT_EQ(strings(call(port, "GET", "/v2/a/tags/list"), "tags"),
            std::vector<std::string>{"three"});
}

TEST_F(ManifestsTest, WhatAnotherProgramStoredIsServedAsWhatItIs) {
  const uint16_t port = start();
  const std::string v1 = "application/vnd.docker.distribution.manifest.v1+";
  const std::vector<std::pair<std::string, std::string>> stored = {
      {R"({"schemaVersion":1,"name":"a","tag":"t","fsLayers":[]})", v1 + "json"},
      {R"({"schemaVersion":1,"fsLayers":[],"signatures":[{}]})", v1 + "prettyjws"},
      {R"({"schemaVersion":1,"mediaType":"application/other+json"})", "application/other+json"},
      {R"({"schemaVersion":2,"mediaType":"application/vnd.cncf.helm+json"})",
       "application/vnd.cncf.helm+json"},
      {R"({"schemaVersion":3,"mediaType":"a/b\r\nX: y"})", "application/octet-stream"},
      {"not JSON", "application/octet-stream"},
  };
  push_image(port, "a", "new", "1");
  for (const auto& [bytes, type] : stored) {
    const std::string digest = sha256(bytes).str();
    write(layout().blob(sha256(bytes)), bytes);
    write_link(layout().revision_link("a", sha256(bytes)), sha256(bytes));
    write_link(layout().tag_current_link("a", "old"), sha256(bytes));
    for (const std::string& reference : {std::string("old"), digest}) {
      const auto get = call(port, "GET", path(reference));
      EXPECT_EQ(get.body, bytes);
      EXPECT_EQ(get.header("Content-Type"), type);
      EXPECT_EQ(call(port, "HEAD", path(reference)).header("Content-Type"), type);
    }
    EXPECT_EQ(strings(call(port, "GET", "/v2/a/tags/list"), "tags"),
              (std::vector<std::string>{"new", "old"}));
    EXPECT_EQ(call(port, "DELETE", path(digest)).status, 202);
    EXPECT_EQ(call(port, "GET", path("old")).status, 404);
  }
}

TEST_F(ManifestsTest, AnUnreadableLinkStandsInNobodysWay) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "good", "1");
  // A directory where a link should be, a link in a loop, garbage.
  std::filesystem::create_directories(layout().tag_current_link("a", "directory"));
  std::filesystem::create_directories(layout().tag("a", "loop") / "current");
  std::filesystem::create_symlink("link", layout().tag_current_link("a", "loop"));
  write(layout().tag_current_link("a", "garbled"), "sha256:");
  for (const char* tag : {"directory", "garbled"}) {
    EXPECT_EQ(call(port, "GET", path(tag)).status, 404) << tag;
  }
  const auto list = call(port, "GET", "/v2/a/tags/list");
  EXPECT_EQ(list.status, 200);
  EXPECT_EQ(call(port, "DELETE", path(sha256(manifest).str())).status, 202);
  EXPECT_EQ(call(port, "GET", path("good")).status, 404);
  // A push heals them, and they can be deleted.
  const uint64_t before = link_repairs();
  push_image(port, "a", "directory", "2");
  push_image(port, "a", "loop", "2");
  push_image(port, "a", "garbled", "2");
  EXPECT_EQ(link_repairs() - before, 3U);
  for (const char* tag : {"directory", "loop", "garbled"}) {
    EXPECT_EQ(call(port, "GET", path(tag)).status, 200) << tag;
    EXPECT_EQ(call(port, "DELETE", path(tag)).status, 202) << tag;
  }
}

TEST_F(ManifestsTest, WhatCannotBeReadCanBeDeleted) {
  namespace fs = std::filesystem;
  const uint16_t port = start();
  const std::vector<std::pair<std::string, std::function<void(const oci::Digest&)>>> ways = {
      {"bytes gone", [&](const auto& digest) { fs::remove(layout().blob(digest)); }},
      {"bytes torn", [&](const auto& digest) { write(layout().blob(digest), "{"); }},
      {"no bytes", [&](const auto& digest) { write(layout().blob(digest), ""); }},
      {"link garbled",
       [&](const auto& digest) { write(layout().revision_link("a", digest), "sha256:"); }},
      {"link in a loop",
       [&](const auto& digest) {
         fs::remove(layout().revision_link("a", digest));
         fs::create_symlink("link", layout().revision_link("a", digest));
       }},
      {"a directory where the bytes should be",
       [&](const auto& digest) {
         fs::remove(layout().blob(digest));
         fs::create_directory(layout().blob(digest));
       }},
  };
  for (const auto& [way, spoil] : ways) {
    const oci::Digest digest = sha256(push_image(port, "a", "t", way));
    spoil(digest);
    EXPECT_EQ(call(port, "DELETE", path(digest.str())).status, 202) << way;
    EXPECT_FALSE(fs::exists(layout().tag("a", "t"))) << way;
    EXPECT_EQ(call(port, "DELETE", path(digest.str())).status, 404) << way;
  }
  for (const std::string& file : {std::string("/data"), std::string("/link")}) {
    const oci::Digest digest = sha256(push_image(port, "a", "t", "not to be opened"));
    const base::InjectedFault unreadable("open", EACCES, digest.hex() + file);
    EXPECT_EQ(call(port, "GET", path("t")).status, 500) << file;
    EXPECT_EQ(call(port, "DELETE", path(digest.str())).status, 202) << file;
    EXPECT_FALSE(fs::exists(layout().tag("a", "t"))) << file;
    EXPECT_FALSE(fs::exists(layout().revision_link("a", digest))) << file;
  }
}

TEST_F(ManifestsTest, ADeleteSaysWhichTagsItCouldNotRead) {
  test::LogCapture log;
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "one", "1");
  for (const char* tag : {"two", "three"}) push_manifest(port, "a", tag, manifest);
  const base::InjectedFault unreadable("open", EACCES, "/tags/t");
  EXPECT_EQ(call(port, "DELETE", path(sha256(manifest).str())).status, 202);
  for (const char* tag : {"two", "three"}) {
    EXPECT_NE(log.text().find("leaves a tag that may lead to it: open " +
                              layout().tag_current_link("a", tag).string()),
              std::string::npos)
        << log.text();
  }
}

TEST_F(ManifestsTest, ADeleteThatCannotReadNowLeavesManifestAndTags) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "t", "1");
  const std::string digest = sha256(manifest).str();
  // Where it looks first, and where it has taken the link to.
  for (const char* link : {"/current/link", "/.link."}) {
    for (const int error : {EMFILE, ETIMEDOUT}) {
      {
        const base::InjectedFault fault("open", error, link);
        EXPECT_EQ(call(port, "DELETE", path(digest)).status, 500) << link;
      }
      for (const std::string& reference : {std::string("t"), digest}) {
        EXPECT_EQ(call(port, "GET", path(reference)).body, manifest) << link;
      }
    }
  }
  EXPECT_EQ(call(port, "DELETE", path(digest)).status, 202);
}

TEST_F(ManifestsTest, WhatIsLeftOfATagStandsInNoDeletesWay) {
  const uint16_t port = start();
  const base::InjectedFault stays("remove", EACCES, "/tags/");
  push_image(port, "a", "alone", "1");
  EXPECT_EQ(call(port, "DELETE", path("alone")).status, 202);
  const std::string manifest = push_image(port, "a", "one", "2");
  push_manifest(port, "a", "two", manifest);
  EXPECT_EQ(call(port, "DELETE", path(sha256(manifest).str())).status, 202);
  for (const std::string& gone :
       {std::string("alone"), std::string("one"), std::string("two"), sha256(manifest).str()}) {
    EXPECT_EQ(call(port, "GET", path(gone)).status, 404) << gone;
  }
  EXPECT_EQ(strings(call(port, "GET", "/v2/a/tags/list"), "tags"), std::vector<std::string>{});
}

TEST_F(ManifestsTest, BytesThatCannotBeReadAreReplacedByAPush) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "t", "1");
  {
    const base::InjectedFault unreadable("open", EIO, sha256(manifest).hex() + "/data");
    EXPECT_EQ(call(port, "GET", path("t")).status, 500);
    EXPECT_EQ(push_manifest(port, "a", "t", manifest).status, 201);
  }
  EXPECT_EQ(call(port, "GET", path("t")).body, manifest);
}

TEST_F(ManifestsTest, ATagThatIsPutAndDeletedAtOnceIsNoError) {
  const uint16_t port = start();
  const std::string manifest = push_image(port, "a", "t", "1");
  std::thread deleter([&] {
    for (int i = 0; i < 50; ++i) {
      const int status = call(port, "DELETE", path("t")).status;
      EXPECT_TRUE(status == 202 || status == 404) << status;
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(push_manifest(port, "a", "t", manifest).status, 201);
  deleter.join();
  EXPECT_EQ(push_manifest(port, "a", "t", manifest).status, 201);
  EXPECT_EQ(call(port, "GET", path("t")).body, manifest);
}

TEST_F(ManifestsTest, ReadOnlyRefusesWritesUntilItIsSwitchedOff) {
  Config read_only = config();
  read_only.read_only = true;
  Registry& registry = start(config());
  const uint16_t port = registry.port();
  const std::string manifest = push_image(port, "a", "t", "1");
  registry.reload(read_only);
  EXPECT_EQ(call(port, "GET", path("t")).body, manifest);
  EXPECT_EQ(call(port, "GET", "/v2/").status, 200);
  for (const auto& [method, target] : std::vector<std::pair<std::string, std::string>>{
           {"PUT", path("t")}, {"DELETE", path("t")}, {"POST", "/v2/a/blobs/uploads/"}}) {
    const auto answer = call(port, method, target, method == "PUT" ? manifest : "");
    EXPECT_EQ(answer.status, 405) << method;
    EXPECT_EQ(answer.header("Allow"), "GET, HEAD");
    EXPECT_EQ(error_code(answer), "UNSUPPORTED");
    EXPECT_NE(answer.body.find("read-only"), std::string::npos);
    const auto options = call(port, "OPTIONS", target);
    EXPECT_EQ(options.status, 200) << target;
    EXPECT_EQ(options.header("Allow"), "GET, HEAD") << target;
  }
  registry.reload(config());
  EXPECT_EQ(call(port, "DELETE", path("t")).status, 202);
}

// In whatever order a push of a tag and a delete of its manifest meet, no tag leads nowhere.
TEST_F(ManifestsTest, APushAndADeleteOfOneManifestLeaveNoTagThatLeadsNowhere) {
  const uint16_t port = start();
  const oci::Digest config = push_blob(port, "a", "{}");
  const std::string manifest = image(config, {});
  const std::string place = "/v2/a/manifests/" + sha256(manifest).str();
  const auto remove = [&] { EXPECT_EQ(call(port, "DELETE", place).status, 202); };
  {
    ASSERT_EQ(push_manifest(port, "a", "old", manifest).status, 201);
    int pushes = 0;
    const base::InjectedFault push("manifest.untagged", [&](std::string_view) {
      if (pushes++ == 0) EXPECT_EQ(push_manifest(port, "a", "new", manifest).status, 201);
      return 0;
    });
    remove();
    EXPECT_EQ(pushes, 1);
  }
  EXPECT_EQ(call(port, "GET", place).status, 404);
  EXPECT_EQ(call(port, "GET", "/v2/a/tags/list").body, "{\"name\":\"a\",\"tags\":[]}\n");
  for (const char* step : {"manifest.put", "manifest.tagged"}) {
    int deletes = 0;
    const base::InjectedFault fault(step, [&](std::string_view) {
      if (deletes++ == 0) remove();
      return 0;
    });
    EXPECT_EQ(push_manifest(port, "a", "new", manifest).status, 201);
    EXPECT_EQ(deletes, 1);
    EXPECT_EQ(call(port, "GET", "/v2/a/manifests/new").body, manifest) << step;
    EXPECT_EQ(call(port, "GET", place).body, manifest) << step;
  }
}

}  // namespace
}  // namespace origin

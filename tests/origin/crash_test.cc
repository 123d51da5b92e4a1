// The real program, killed at each named step of what it does to the storage. After a restart what
// was acknowledged is there, what was not is there whole or not at all, and can be done again.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>

#include "oci/manifest.h"
#include "tests/origin/client.h"
#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

class CrashTest : public ::testing::Test {
 protected:
  CrashTest()
      : config_(dir_.write("config.yml",
                           "version: 0.1\n"
                           "storage:\n"
                           "  filesystem: {rootdirectory: " +
                               (dir_.path() / "data").string() +
                               "}\n"
                               "  delete: {enabled: true}\n"
                               "http: {addr: '127.0.0.1:0', draintimeout: 5s}\n"
                               "server: {loops: 1, threads: 2}\n")) {}

  void start(const std::string& crash_at = "") {
    process_.reset();
    process_ = std::make_unique<test::Process>(
        std::vector<std::string>{ORIGIN_PROGRAM, "serve", config_.string()},
        std::map<std::string, std::string>{{"ENTREPOT_CRASH_AT", crash_at}});
    port_ = process_->listening_port();
  }
  void expect_killed() { EXPECT_EQ(process_->wait(), -SIGKILL); }

  // Status of a GET, after checking that a body that came is the one that was meant.
  int get(const std::string& target, const std::string& content) {
    const auto answer = call(port_, "GET", target);
    if (answer.status == 200) {
      EXPECT_TRUE(answer.complete);
      EXPECT_EQ(answer.body, content) << target;
    }
    return answer.status;
  }

  test::TempDir dir_;
  const std::filesystem::path config_;
  std::unique_ptr<test::Process> process_;
  uint16_t port_ = 0;
};

std::string blob_path(const std::string& content) { return "/v2/a/blobs/" + sha256(content).str(); }
std::string manifest_path(const std::string& reference) { return "/v2/a/manifests/" + reference; }

TEST_F(CrashTest, AtEachStepOfAnUpload) {
  for (const std::string step : {"upload.created", "upload.appended", "upload.verified",
                                 "blob.synced", "blob.renamed", "blob.linked", "upload.removed"}) {
    SCOPED_TRACE(step);
    start();
    const std::string before = "acknowledged before " + step;
    push_blob(port_, "a", before);

    start(step);
    const std::string content = "uploaded at " + step;
    const auto post = call(port_, "POST", "/v2/a/blobs/uploads/");
    if (post.status != 0) {
      call(port_, "PUT", location(post) + "&digest=" + sha256(content).str(), content);
    }
    expect_killed();

    start();
    EXPECT_EQ(get(blob_path(before), before), 200);
    const bool linked = step == "blob.linked" || step == "upload.removed";
    EXPECT_EQ(get(blob_path(content), content), linked ? 200 : 404);
    push_blob(port_, "a", content);
    EXPECT_EQ(get(blob_path(content), content), 200);
  }
}

TEST_F(CrashTest, AnUploadGoesOnAfterACrash) {
  start("upload.appended:2");
  std::string url = location(call(port_, "POST", "/v2/a/blobs/uploads/"));
  url = location(call(port_, "PATCH", url, "hello"));
  EXPECT_EQ(call(port_, "PATCH", url, " wor").status, 0);
  expect_killed();

  start();
  const auto status = call(port_, "GET", url.substr(0, url.find('?')));
  EXPECT_EQ(status.status, 204);
  EXPECT_EQ(status.header("Range"), "0-8");
  const auto patch = call(port_, "PATCH", location(status), "ld");
  EXPECT_EQ(patch.status, 202) << patch.body;
  const auto put = call(port_, "PUT", location(patch) + "&digest=" + sha256("hello world").str());
  EXPECT_EQ(put.status, 201) << put.body;
  EXPECT_EQ(get(blob_path("hello world"), "hello world"), 200);
}

TEST_F(CrashTest, AtEachStepOfAManifestPut) {
  start();
  const oci::Digest config = push_blob(port_, "a", "{}");
  int serial = 0;
  for (const std::string step :
       {"manifest.stored", "manifest.linked", "tag.indexed", "tag.moved"}) {
    for (const bool tag_exists : {false, true}) {
      SCOPED_TRACE(step + (tag_exists ? ", tag exists" : ", new tag"));
      const std::string tag = "t" + std::to_string(++serial);
      const auto manifest = [&](const char* which) {
        return image(config, {}, R"(,"annotations":{"a":")" + tag + which + R"("})");
      };
      const std::string before = manifest("before");
      const std::string after = manifest("after");
      start();
      if (tag_exists) EXPECT_EQ(push_manifest(port_, "a", tag, before).status, 201);

      start(step);
      EXPECT_EQ(push_manifest(port_, "a", tag, after).status, 0);
      expect_killed();

      start();
      const bool moved = step == "tag.moved";
      const int expected = moved || tag_exists ? 200 : 404;
      EXPECT_EQ(get(manifest_path(tag), moved ? after : before), expected);
      const auto tags = strings(call(port_, "GET", "/v2/a/tags/list"), "tags");
      EXPECT_EQ(std::ranges::count(tags, tag), expected == 200 ? 1 : 0);
      if (tag_exists) EXPECT_EQ(get(manifest_path(sha256(before).str()), before), 200);
      EXPECT_EQ(get(manifest_path(sha256(after).str()), after),
                step == "manifest.stored" ? 404 : 200);
      EXPECT_EQ(push_manifest(port_, "a", tag, after).status, 201);
      EXPECT_EQ(get(manifest_path(tag), after), 200);
    }
  }
}

TEST_F(CrashTest, AtEachStepOfADelete) {
  int serial = 0;
  for (const std::string step : {"tag.removed", "tag.removed:2", "manifest.unlinked"}) {
    SCOPED_TRACE(step);
    start();
    const std::string one = "one" + std::to_string(++serial);
    const std::string two = "two" + std::to_string(serial);
    const std::string manifest = push_image(port_, "a", one, step);
    EXPECT_EQ(push_manifest(port_, "a", two, manifest).status, 201);
    const std::string other = push_image(port_, "a", "other", "other");
    const std::string by_digest = manifest_path(sha256(manifest).str());

    start(step);
    EXPECT_EQ(call(port_, "DELETE", by_digest).status, 0);
    expect_killed();

    start();
    EXPECT_EQ(get(manifest_path("other"), other), 200);
    // No tag leads nowhere: what is still listed can be pulled.
    for (const std::string& tag : strings(call(port_, "GET", "/v2/a/tags/list"), "tags")) {
      EXPECT_EQ(call(port_, "GET", manifest_path(tag)).status, 200) << tag;
    }
    const bool gone = step == "manifest.unlinked";
    EXPECT_EQ(get(by_digest, manifest), gone ? 404 : 200);
    EXPECT_EQ(call(port_, "DELETE", by_digest).status, gone ? 404 : 202);
    EXPECT_EQ(get(by_digest, manifest), 404);
    EXPECT_EQ(get(manifest_path(one), manifest), 404);
    EXPECT_EQ(get(manifest_path(two), manifest), 404);
  }
}

TEST_F(CrashTest, TermEndsTheProgramInOrder) {
  start();
  push_blob(port_, "a", "bytes");
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(), 0);
}

// Not a crash, but of the same program: what it says to whoever starts it wrongly.
TEST_F(CrashTest, WrongUseIsExplained) {
  const auto run = [](std::vector<std::string> arguments, int code) {
    arguments.insert(arguments.begin(), ORIGIN_PROGRAM);
    test::Process process(std::move(arguments));
    EXPECT_EQ(process.wait(), code);
    return process.output();
  };
  EXPECT_NE(run({"--help"}, 0).find("serve"), std::string::npos);
  EXPECT_NE(run({"--version"}, 0).find("entrepot-origin "), std::string::npos);
  EXPECT_NE(run({}, 2).find("serve"), std::string::npos);
  EXPECT_NE(run({"serve"}, 2).find("config"), std::string::npos);
  EXPECT_NE(run({"serve", "/no/such/file"}, 2).find("/no/such/file"), std::string::npos);
  const auto bad = dir_.write("bad.yml", "version: 0.1\nhttp: {addr: [1]}\n");
  EXPECT_NE(run({"serve", bad.string()}, 2).find("bad.yml:2:"), std::string::npos);
}

}  // namespace
}  // namespace origin

// An edge with its administration, in front of a scripted registry of images.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/proxy/mirror_fixture.h"

namespace proxy {

class AdministeredTest : public MirrorTest {
 protected:
  using json = nlohmann::json;

  EdgeConfig config() {
    EdgeConfig config = MirrorTest::config();
    config.cache.inline_limit = cache::kInlineLimit;  // as configured
    config.admin.address = "127.0.0.1:0";
    config.admin.token = "the-token";
    return config;
  }
  void start() { EdgeTest::start(config()); }
  using EdgeTest::start;

  test::Fetched post(const std::string& path, const std::string& body,
                     const std::string& type = "application/json") {
    test::FetchOptions options{.method = "POST", .body = body};
    options.headers.set("Authorization", "Bearer the-token");
    options.headers.set("Content-Type", type);
    return test::fetch(edge->admin_port(), path, options);
  }
  json post_json(const std::string& path, const json& body) {
    const test::Fetched answer = post(path, body.dump());
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body, nullptr, false);
  }
  json inspect(const std::string& digest) {
    test::FetchOptions options;
    options.headers.set("Authorization", "Bearer the-token");
    const test::Fetched answer = test::fetch(edge->admin_port(), "/blobs/" + digest, options);
    return json::parse(answer.body, nullptr, false);
  }
  bool held(const std::string& digest) { return inspect(digest).value("state", "") == "held"; }
  bool held_bytes(const std::string& bytes) {
    return held(oci::Digest::of(oci::Algorithm::sha256, bytes).str());
  }
  bool whole(const TestImage& image) {
    return held_bytes(image.config) && held_bytes(image.manifest) &&
           std::ranges::all_of(image.layers, [&](const std::string& l) { return held_bytes(l); });
  }
};

// An index of these images, one for each platform "linux/a", "linux/b", …
inline std::string index_of(const std::vector<const TestImage*>& images) {
  std::string list;
  char architecture = 'a';
  for (const TestImage* image : images) {
    list += (list.empty() ? "" : ",") +
            descriptor(oci::media_type::kOciManifest, image->manifest,
                       std::string(R"(,"platform":{"os":"linux","architecture":")") +
                           architecture++ + R"("})");
  }
  return R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::kOciIndex) +
         R"(","manifests":[)" + list + "]}";
}

}  // namespace proxy

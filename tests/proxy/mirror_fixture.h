// An edge that mirrors whole images, in front of a scripted registry, on a wall clock of its own.
#pragma once

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "oci/manifest.h"
#include "tests/proxy/edge_fixture.h"

namespace proxy {

inline std::string quoted(const std::string& text) { return "\"" + text + "\""; }

inline std::string descriptor(std::string_view type, const std::string& bytes,
                              const std::string& more = "") {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" +
         oci::Digest::of(oci::Algorithm::sha256, bytes).str() + R"(","size":)" +
         std::to_string(bytes.size()) + more + "}";
}

// An image of one platform: its manifest refers to a config and layers of random bytes.
struct TestImage {
  explicit TestImage(unsigned seed, size_t layers = 2) : config(random_bytes(200, seed)) {
    std::string list;
    for (size_t i = 0; i < layers; ++i) {
      this->layers.push_back(random_bytes(3000, seed + 100 + static_cast<unsigned>(i)));
      list += (i == 0 ? "" : ",") +
              descriptor("application/vnd.oci.image.layer.v1.tar", this->layers.back());
    }
    manifest = R"({"schemaVersion":2,"mediaType":")" + std::string(oci::media_type::kOciManifest) +
               R"(","config":)" + descriptor("application/vnd.oci.image.config.v1+json", config) +
               R"(,"layers":[)" + list + "]}";
  }
  std::string digest() const { return oci::Digest::of(oci::Algorithm::sha256, manifest).str(); }

  std::string config;
  std::vector<std::string> layers;
  std::string manifest;
};

inline const std::string kTags = "/v2/app/tags/list";

class MirrorTest : public EdgeTest {
 protected:
  EdgeConfig config() {
    EdgeConfig config = EdgeTest::config();
    config.upstreams[0].images = true;
    config.clock = &clock;
    config.unix_time = [this] { return now.load(); };
    return config;
  }
  void start() { EdgeTest::start(config()); }
  using EdgeTest::start;

  // Under its digest, and under the tag if there is one.
  void serve_manifest(const std::string& bytes, const std::string& tag = "",
                      std::string_view type = oci::media_type::kOciManifest,
                      const std::string& repository = "app") {
    const std::string digest = oci::Digest::of(oci::Algorithm::sha256, bytes).str();
    http::Headers headers;
    headers.set("Content-Type", type);
    headers.set("Docker-Content-Digest", digest);
    headers.set("ETag", quoted(digest));
    const std::string base = "/v2/" + repository + "/manifests/";
    upstream.serve_blob(base + digest, bytes, headers);
    if (!tag.empty()) upstream.serve_blob(base + tag, bytes, headers);
  }
  void serve_image(const TestImage& image, const std::string& tag = "") {
    serve_manifest(image.manifest, tag);
    upstream.serve_blob(TestBlob(image.config).path, image.config);
    for (const std::string& layer : image.layers) {
      upstream.serve_blob(TestBlob(layer).path, layer);
    }
  }

  // How often this has been asked, by GET and by HEAD: "2 1".
  std::string asked(const std::string& path) {
    int gets = 0;
    int heads = 0;
    for (const auto& seen : upstream.requests()) {
      if (seen.target.substr(0, seen.target.find('?')) != path) continue;
      ++(seen.method == "HEAD" ? heads : gets);
    }
    return std::to_string(gets) + " " + std::to_string(heads);
  }

  test::Fetched get_with(const std::string& path, const std::string& field,
                         const std::string& value) {
    test::FetchOptions options;
    options.headers.set(field, value);
    return test::fetch(edge->port(), path, options);
  }

  std::atomic<int64_t> now = 1'700'000'000;
};

}  // namespace proxy

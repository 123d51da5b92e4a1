#include "tests/origin/client.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace origin {
namespace {

constexpr std::string_view kIndexType = "application/vnd.oci.image.index.v1+json";

nlohmann::json descriptor(const std::string& type, const oci::Digest& digest) {
  return {{"mediaType", type}, {"digest", digest.str()}, {"size", 1}};
}

}  // namespace

oci::Digest sha256(std::string_view bytes) {
  return oci::Digest::of(oci::Algorithm::sha256, bytes);
}

oci::Digest sha512(std::string_view bytes) {
  return oci::Digest::of(oci::Algorithm::sha512, bytes);
}

std::string location(const test::Fetched& answer) {
  std::string url = answer.header("Location");
  const size_t scheme = url.find("://");
  return scheme == std::string::npos ? url : url.substr(url.find('/', scheme + 3));
}

std::string error_code(const test::Fetched& answer) {
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (!json.is_object() || !json.contains("errors")) return "";
  return json["errors"][0]["code"].get<std::string>();
}

std::vector<std::string> strings(const test::Fetched& answer, const std::string& key) {
  const auto json = nlohmann::json::parse(answer.body, nullptr, false);
  if (!json.is_object() || !json.contains(key)) return {"no " + key + " in " + answer.body};
  return json[key].get<std::vector<std::string>>();
}

test::Fetched call(uint16_t port, const std::string& method, const std::string& target,
                   std::string body, http::Headers headers) {
  test::FetchOptions options;
  options.method = method;
  options.body = std::move(body);
  options.headers = std::move(headers);
  return test::fetch(port, target, options);
}

http::Headers fields(
    std::initializer_list<std::pair<std::string_view, std::string_view>> name_values) {
  http::Headers headers;
  for (const auto& [name, value] : name_values) headers.add(name, value);
  return headers;
}

oci::Digest push_blob(uint16_t port, const std::string& repository, const std::string& bytes) {
  const oci::Digest digest = sha256(bytes);
  const auto answer =
      call(port, "POST", "/v2/" + repository + "/blobs/uploads/?digest=" + digest.str(), bytes);
  EXPECT_EQ(answer.status, 201) << answer.body;
  return digest;
}

std::string image(const oci::Digest& config, const std::vector<oci::Digest>& layers,
                  const std::string& more_fields) {
  auto array = nlohmann::json::array();
  for (const oci::Digest& layer : layers) {
    array.push_back(descriptor("application/vnd.oci.image.layer.v1.tar", layer));
  }
  const auto config_json = descriptor("application/vnd.oci.image.config.v1+json", config);
  return R"({"schemaVersion":2,"mediaType":")" + kManifestType + R"(","config":)" +
         config_json.dump() + R"(,"layers":)" + array.dump() + more_fields + "}";
}

test::Fetched push_manifest(uint16_t port, const std::string& repository,
                            const std::string& reference, const std::string& manifest) {
  const bool index = manifest.find(R"("manifests")") != std::string::npos;
  return call(port, "PUT", "/v2/" + repository + "/manifests/" + reference, manifest,
              fields({{"Content-Type", index ? kIndexType : kManifestType}}));
}

std::string push_image(uint16_t port, const std::string& repository, const std::string& tag,
                       const std::string& content) {
  const oci::Digest config = push_blob(port, repository, "{}");
  const oci::Digest layer = push_blob(port, repository, content);
  const std::string manifest = image(config, {layer});
  const auto answer = push_manifest(port, repository, tag, manifest);
  EXPECT_EQ(answer.status, 201) << answer.body;
  return manifest;
}

std::string scrape(uint16_t debug_port, const std::string& until) {
  test::Fetched answer;
  for (int attempt = 0; attempt < 20'000; ++attempt) {
    answer = call(debug_port, "GET", "/metrics");
    if (answer.status != 200 || answer.body.find(until) != std::string::npos) break;
    std::this_thread::yield();
  }
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find(until), std::string::npos) << until << " is not in " << answer.body;
  return answer.body;
}

}  // namespace origin

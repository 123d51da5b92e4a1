#include "oci/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace oci {
namespace {

using namespace std::string_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kHexA(64, 'a');
const std::string kHexB(64, 'b');
const std::string kHexC(64, 'c');
const std::string kSha512 = "sha512:" + std::string(128, 'd');
const std::string kConfigType = "application/vnd.oci.image.config.v1+json";
const std::string kLayerType = "application/vnd.oci.image.layer.v1.tar+gzip";

json descriptor(const std::string& type, const std::string& digest, json size) {
  return {{"mediaType", type}, {"digest", digest}, {"size", std::move(size)}};
}

json image() {
  return {{"schemaVersion", 2},
          {"mediaType", media_type::kOciManifest},
          {"config", descriptor(kConfigType, "sha256:" + kHexA, 100)},
          {"layers", json::array({descriptor(kLayerType, "sha256:" + kHexB, 200)})}};
}

json index() {
  return {
      {"schemaVersion", 2},
      {"mediaType", media_type::kOciIndex},
      {"manifests",
       json::array({descriptor(std::string(media_type::kOciManifest), "sha256:" + kHexA, 300)})}};
}

json artifact() {
  return {{"mediaType", media_type::kOciArtifact},
          {"artifactType", "application/vnd.example.sbom"},
          {"blobs", json::array({descriptor("text/spdx", "sha256:" + kHexA, 10)})}};
}

// `changed` with the JSON merge patch `patch` (RFC 7396: null removes) applied.
json with(json changed, const json& patch) {
  changed.merge_patch(patch);
  return changed;
}

// `document` with `key` set, also to null.
json set(json document, const std::string& key, json value) {
  document[key] = std::move(value);
  return document;
}

Manifest accept(const std::string& bytes, std::string_view content_type = "") {
  auto manifest = parse_manifest(bytes, content_type);
  if (!manifest) {
    ADD_FAILURE() << manifest.error() << "\n" << bytes.substr(0, 1000);
    return {};
  }
  return *std::move(manifest);
}

Manifest accept(const json& document, std::string_view content_type = "") {
  return accept(document.dump(), content_type);
}

// Why it is refused; "accepted" if it is not.
std::string refusal(const std::string& bytes, std::string_view content_type = "") {
  const auto manifest = parse_manifest(bytes, content_type);
  return manifest ? "accepted" : manifest.error();
}

std::string refusal(const json& document, std::string_view content_type = "") {
  return refusal(document.dump(), content_type);
}

// As "docker push" writes it: hello-world for amd64.
TEST(Manifest, DockerSchema2) {
  const Manifest manifest = accept(R"({
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": 1469,
      "digest": "sha256:feb5d9fea6a5e9606aa995e879d862b825965ba48de054caab5ef356dc6b3412"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": 2479,
         "digest": "sha256:2db29710123e3e53a794f2694094b9b4338aa9ee5c40b930cb8063a1be392c54"
      }
   ]
})"s,
                                   media_type::kDockerManifest);
  EXPECT_EQ(manifest.media_type, media_type::kDockerManifest);
  EXPECT_FALSE(manifest.is_index());
  ASSERT_TRUE(manifest.config);
  EXPECT_EQ(manifest.config->media_type, "application/vnd.docker.container.image.v1+json");
  EXPECT_EQ(manifest.config->size, 1469U);
  EXPECT_EQ(manifest.config->digest.str(),
            "sha256:feb5d9fea6a5e9606aa995e879d862b825965ba48de054caab5ef356dc6b3412");
  EXPECT_EQ(manifest.artifact_type, "application/vnd.docker.container.image.v1+json");
  ASSERT_EQ(manifest.blobs.size(), 1U);
  EXPECT_EQ(manifest.blobs[0].size, 2479U);
  EXPECT_TRUE(manifest.blobs[0].distributable);
  EXPECT_THAT(manifest.blobs[0].urls, IsEmpty());
  EXPECT_TRUE(manifest.manifests.empty());
  EXPECT_FALSE(manifest.subject);
  EXPECT_EQ(manifest.annotations, "");
}

// From Docker's "Image Manifest Version 2, Schema 2", "Example Manifest List".
TEST(Manifest, DockerList) {
  const Manifest manifest = accept(R"({
  "schemaVersion": 2,
  "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
  "manifests": [
    {
      "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
      "digest": "sha256:e692418e4cbaf90ca69d05a66403747baa33ee08806650b51fab815ad7fc331f",
      "size": 7143,
      "platform": {"architecture": "ppc64le", "os": "linux"}
    },
    {
      "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
      "digest": "sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270",
      "size": 7682,
      "platform": {"architecture": "amd64", "os": "linux", "features": ["sse4"]}
    }
  ]
})"s,
                                   media_type::kDockerList);
  EXPECT_EQ(manifest.media_type, media_type::kDockerList);
  EXPECT_TRUE(manifest.is_index());
  EXPECT_FALSE(manifest.config);
  EXPECT_TRUE(manifest.blobs.empty());
  ASSERT_EQ(manifest.manifests.size(), 2U);
  EXPECT_EQ(manifest.manifests[1].size, 7682U);
  EXPECT_EQ(manifest.artifact_type, "");
}

// From the image-spec, "Example Image Manifest" with a subject.
TEST(Manifest, OciImage) {
  const Manifest manifest = accept(R"({
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "size": 7023,
    "digest": "sha256:b5b2b2c507a0944348e0303114d8d93aaaa081732b86451d9bce1f432a537bc7"
  },
  "layers": [
    {
      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
      "size": 32654,
      "digest": "sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"
    },
    {
      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
      "size": 16724,
      "digest": "sha256:3c3a4604a545cdc127456d94e421cd355bca5b528f4a9c1905b15da2eb4a4c6b"
    }
  ],
  "subject": {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "size": 7682,
    "digest": "sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270"
  },
  "annotations": {"com.example.key1": "value1", "com.example.key2": "a \"b\"\né"}
})"s,
                                   media_type::kOciManifest);
  EXPECT_EQ(manifest.media_type, media_type::kOciManifest);
  EXPECT_EQ(manifest.blobs.size(), 2U);
  ASSERT_TRUE(manifest.subject);
  EXPECT_EQ(manifest.subject->digest.hex().substr(0, 8), "5b0bcabd");
  EXPECT_EQ(manifest.artifact_type, kConfigType);
  EXPECT_EQ(json::parse(manifest.annotations),
            json({{"com.example.key1", "value1"}, {"com.example.key2", "a \"b\"\né"}}));
}

// From the image-spec, "Example Image Index", with what 1.1 added.
TEST(Manifest, OciIndex) {
  const Manifest manifest = accept(R"({
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "artifactType": "application/vnd.example.bundle",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "size": 7143,
      "digest": "sha256:e692418e4cbaf90ca69d05a66403747baa33ee08806650b51fab815ad7fc331f",
      "platform": {"architecture": "ppc64le", "os": "linux"}
    },
    {
      "mediaType": "application/vnd.oci.image.index.v1+json",
      "size": 7682,
      "digest": "sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270"
    }
  ],
  "subject": {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "size": 7682,
    "digest": "sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0"
  },
  "annotations": {"com.example.key1": "value1"}
})"s,
                                   media_type::kOciIndex);
  EXPECT_TRUE(manifest.is_index());
  ASSERT_EQ(manifest.manifests.size(), 2U);
  EXPECT_EQ(manifest.manifests[0].platform, (Platform{"ppc64le", "linux"}));
  EXPECT_EQ(manifest.manifests[1].platform, Platform{});
  EXPECT_EQ(manifest.artifact_type, "application/vnd.example.bundle");
  EXPECT_TRUE(manifest.subject);
  EXPECT_EQ(manifest.annotations, R"({"com.example.key1":"value1"})");
}

// From the image-spec 1.1.0-rc.2, "Example Artifact Manifest".
TEST(Manifest, OciArtifact) {
  const Manifest manifest = accept(R"({
  "mediaType": "application/vnd.oci.artifact.manifest.v1+json",
  "artifactType": "application/vnd.example.sbom.v1",
  "blobs": [
    {
      "mediaType": "application/gzip",
      "size": 123,
      "digest": "sha256:87923725d74f4bfb94c9e86d64170f7521aad8221a5de834851470ca142da630"
    }
  ],
  "subject": {
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "size": 1234,
    "digest": "sha256:cc06a2839488b8bd2a2b99dcdc03d5cfd818eed72ad08ef3cc197aac64c0d0a0"
  },
  "annotations": {"org.example.sbom.format": "json"}
})"s,
                                   media_type::kOciArtifact);
  EXPECT_EQ(manifest.media_type, media_type::kOciArtifact);
  EXPECT_EQ(manifest.artifact_type, "application/vnd.example.sbom.v1");
  EXPECT_FALSE(manifest.config);
  EXPECT_EQ(manifest.blobs.size(), 1U);
  EXPECT_TRUE(manifest.subject);
  EXPECT_FALSE(manifest.is_index());
}

TEST(Manifest, ContentTypeIsComparedWithoutParametersAndCase) {
  for (const std::string& type : {
           ""s,
           std::string(media_type::kOciManifest),
           std::string(media_type::kOciManifest) + "; charset=utf-8",
           " \t" + std::string(media_type::kOciManifest) + " \t;x=y",
           "Application/vnd.OCI.image.manifest.v1+JSON"s,
           " "s,
           "; charset=utf-8"s,
       }) {
    EXPECT_EQ(accept(image(), type).media_type, media_type::kOciManifest) << type;
  }
}

TEST(Manifest, TypeByShape) {
  const json bare_image = with(image(), {{"mediaType", nullptr}});
  const json bare_index = with(index(), {{"mediaType", nullptr}});
  for (const json& document :
       {bare_image, set(bare_image, "mediaType", nullptr), set(bare_image, "mediaType", ""),
        set(bare_image, "manifests", nullptr)}) {
    EXPECT_EQ(accept(document).media_type, media_type::kOciManifest);
    EXPECT_EQ(accept(document, media_type::kOciManifest).media_type, media_type::kOciManifest);
  }
  EXPECT_EQ(accept(bare_index).media_type, media_type::kOciIndex);
  EXPECT_EQ(accept(bare_index, media_type::kOciIndex).media_type, media_type::kOciIndex);
  EXPECT_EQ(accept(with(bare_index, {{"manifests", json::array()}})).media_type,
            media_type::kOciIndex);
  // These must name themselves.
  EXPECT_THAT(refusal(bare_image, media_type::kDockerManifest), HasSubstr("without a mediaType"));
  EXPECT_THAT(refusal(bare_index, media_type::kDockerList), HasSubstr("without a mediaType"));
  EXPECT_THAT(refusal(with(artifact(), {{"mediaType", nullptr}}), media_type::kOciArtifact),
              HasSubstr("without a mediaType"));
  EXPECT_THAT(refusal(bare_image, media_type::kOciIndex), HasSubstr("without a mediaType"));
  EXPECT_THAT(refusal(bare_index, media_type::kOciManifest), HasSubstr("without a mediaType"));
}

TEST(Manifest, TypeMustBeTheContentType) {
  const std::string_view types[] = {media_type::kDockerManifest, media_type::kDockerList,
                                    media_type::kOciManifest, media_type::kOciIndex,
                                    media_type::kOciArtifact};
  const json documents[] = {with(image(), {{"mediaType", media_type::kDockerManifest}}),
                            with(index(), {{"mediaType", media_type::kDockerList}}), image(),
                            index(), artifact()};
  for (size_t body = 0; body < 5; ++body) {
    for (size_t header = 0; header < 5; ++header) {
      if (body == header) {
        EXPECT_EQ(accept(documents[body], types[header]).media_type, types[body]);
      } else {
        EXPECT_THAT(refusal(documents[body], types[header]), HasSubstr("but its Content-Type is"));
      }
    }
  }
}

TEST(Manifest, UnknownTypes) {
  for (const std::string& type :
       {"application/json"s, "text/html"s, "application/octet-stream"s, "x"s, "*/*"s,
        std::string(media_type::kOciManifest) + "x", "application/vnd.oci.image.config.v1+json"s}) {
    EXPECT_THAT(refusal(image(), type), HasSubstr("media type \"" + type + "\" is not")) << type;
    EXPECT_THAT(refusal(with(image(), {{"mediaType", type}})),
                HasSubstr("media type \"" + type + "\" is not"));
  }
  EXPECT_THAT(refusal(with(image(), {{"mediaType", "Application/vnd.oci.image.index.v1+json"}})),
              HasSubstr("is not"));
  EXPECT_THAT(refusal(with(image(), {{"mediaType", std::string(10000, 'x') + "\n"}})).size(),
              testing::Lt(300U));
  EXPECT_EQ(refusal(with(image(), {{"mediaType", "a\n\x01\xc3\xa9"}})),
            "media type \"a????\" is not that of a manifest this registry knows");
}

TEST(Manifest, Schema1IsRefused) {
  const std::string body = R"({"schemaVersion": 1, "name": "library/hello-world", "tag": "latest",
    "architecture": "amd64", "fsLayers": [], "history": [], "signatures": []})";
  for (const std::string_view type : {"application/vnd.docker.distribution.manifest.v1+json",
                                      "application/vnd.docker.distribution.manifest.v1+prettyjws",
                                      "", "application/vnd.oci.image.manifest.v1+json"}) {
    EXPECT_EQ(refusal(body, type),
              "image manifest schema 1 is not supported; push schema 2 or an OCI manifest");
  }
  EXPECT_THAT(refusal(with(image(), {{"mediaType",
                                      "application/vnd.docker.distribution.manifest.v1+json"}})),
              HasSubstr("schema 1"));
}

TEST(Manifest, SchemaVersion) {
  for (const json& version :
       json::parse(R"(["2", 3, 0, -2, 2.0, 2.5, true, [2], 18446744073709551615, null])")) {
    EXPECT_EQ(refusal(set(image(), "schemaVersion", version)),
              "field \"schemaVersion\" of the manifest must be the number 2")
        << version;
    EXPECT_THAT(refusal(set(index(), "schemaVersion", version)), HasSubstr("the number 2"));
  }
  EXPECT_THAT(refusal(with(image(), {{"schemaVersion", nullptr}})), HasSubstr("the number 2"));
  // The artifact manifest has no such field.
  accept(set(artifact(), "schemaVersion", 2));
  EXPECT_THAT(refusal(set(artifact(), "schemaVersion", 3)), HasSubstr("the number 2"));
}

TEST(Manifest, ListsMayBeEmptyNullOrMissing) {
  for (const json& empty : json::parse("[[], null]")) {
    EXPECT_TRUE(accept(set(image(), "layers", empty)).blobs.empty());
    EXPECT_TRUE(accept(set(index(), "manifests", empty)).manifests.empty());
    EXPECT_TRUE(accept(set(artifact(), "blobs", empty)).blobs.empty());
  }
  EXPECT_TRUE(accept(with(image(), {{"layers", nullptr}})).blobs.empty());
  EXPECT_TRUE(accept(with(index(), {{"manifests", nullptr}})).manifests.empty());
  EXPECT_TRUE(accept(with(artifact(), {{"blobs", nullptr}})).blobs.empty());
}

// CVE-2021-41190.
TEST(Manifest, NothingIsBothImageAndIndex) {
  for (const json& value : json::parse(R"([[], {}, "x", 0, false])")) {
    for (const std::string_view type : {media_type::kOciManifest, media_type::kDockerManifest}) {
      EXPECT_THAT(refusal(set(with(image(), {{"mediaType", type}}), "manifests", value)),
                  HasSubstr("must not have a field \"manifests\""));
    }
    for (const std::string_view type : {media_type::kOciIndex, media_type::kDockerList}) {
      for (const std::string name : {"config", "layers"}) {
        EXPECT_THAT(refusal(set(with(index(), {{"mediaType", type}}), name, value)),
                    HasSubstr("must not have a field \"" + name + "\""));
      }
    }
    for (const std::string name : {"config", "layers", "manifests"}) {
      EXPECT_THAT(refusal(set(artifact(), name, value)),
                  HasSubstr("must not have a field \"" + name + "\""));
    }
  }
  json both = index();
  both.update(with(image(), {{"mediaType", nullptr}}));
  both.erase("mediaType");
  for (const std::string_view type : {"", "application/vnd.oci.image.index.v1+json",
                                      "application/vnd.oci.image.manifest.v1+json"}) {
    EXPECT_NE(refusal(both, type), "accepted");
  }
  // Null is no field.
  accept(set(image(), "manifests", nullptr));
  accept(set(set(index(), "config", nullptr), "layers", nullptr));
}

// {"<one>":null,"<other>":null}
std::string two_fields(const std::string& one, const std::string& other) {
  return R"({")" + one + R"(":null,")" + other + R"(":null})";
}

std::string misspelled(const std::string& field, const std::string& where,
                       const std::string& right) {
  return "field \"" + field + "\" of " + where + " must be spelled \"" + right + "\"";
}

std::string repeated(const std::string& field, const std::string& where) {
  return "field \"" + field + "\" of " + where + " is there more than once";
}

TEST(Manifest, KnownFieldsOnceAndSpelledRight) {
  for (const std::string name : {"schemaVersion", "mediaType", "artifactType", "config", "layers",
                                 "manifests", "blobs", "subject", "annotations"}) {
    std::string other = name;
    other[2] = static_cast<char>(other[2] - 'a' + 'A');
    EXPECT_EQ(refusal(two_fields(name, name)), repeated(name, "the manifest"));
    EXPECT_EQ(refusal(two_fields(other, "x")), misspelled(other, "the manifest", name));
  }
  std::string text = image().dump();
  text.insert(1, R"("media\u0054ype":"application/vnd.oci.image.index.v1+json",)");
  EXPECT_EQ(refusal(text), repeated("mediaType", "the manifest"));
  for (const std::string name : {"mediaType", "digest", "size", "urls"}) {
    std::string inner = R"({"schemaVersion":2,"config":)";
    inner.append(two_fields(name, name)).append("}");
    EXPECT_EQ(refusal(inner), repeated(name, "config"));
  }
  EXPECT_EQ(refusal(R"({"schemaVersion":2,"config":{"Digest":""}})"s),
            misspelled("Digest", "config", "digest"));
}

TEST(Manifest, WrongTypes) {
  const json values = json::parse(R"(["x", 1, -1.5, true, [1], {"a": 1}])");
  for (const json& value : values) {
    if (!value.is_string()) {
      EXPECT_EQ(refusal(set(image(), "mediaType", value)),
                "field \"mediaType\" of the manifest must be a string");
      EXPECT_EQ(refusal(set(image(), "artifactType", value)),
                "field \"artifactType\" of the manifest must be a string");
    }
    if (!value.is_object()) {
      EXPECT_EQ(refusal(set(image(), "config", value)), "config must be a JSON object");
      EXPECT_EQ(refusal(set(image(), "subject", value)), "subject must be a JSON object");
      EXPECT_EQ(refusal(set(image(), "layers", json::array({image()["config"], value}))),
                "layers[1] must be a JSON object");
    }
    if (!value.is_array()) {
      EXPECT_EQ(refusal(set(image(), "layers", value)),
                "field \"layers\" of the manifest must be an array");
      EXPECT_EQ(refusal(set(index(), "manifests", value)),
                "field \"manifests\" of the manifest must be an array");
      EXPECT_EQ(refusal(set(artifact(), "blobs", value)),
                "field \"blobs\" of the manifest must be an array");
    }
    EXPECT_EQ(refusal(set(image(), "annotations", value)),
              "field \"annotations\" of the manifest must be an object whose values are strings");
  }
  EXPECT_EQ(refusal(set(image(), "layers", json::array({nullptr}))),
            "layers[0] must be a JSON object");
  EXPECT_EQ(refusal(with(image(), {{"config", nullptr}})), "the manifest has no config");
  EXPECT_EQ(refusal(set(image(), "config", nullptr)), "the manifest has no config");
}

TEST(Manifest, DescriptorDigests) {
  for (const json& digest :
       {json(""), json("sha256:"), json("sha256:" + kHexA.substr(1)), json("md5:" + kHexA),
        json("sha256:" + std::string(64, 'A')), json("sha384:" + std::string(96, 'a')),
        json("../../etc/passwd"), json(nullptr)}) {
    EXPECT_THAT(refusal(set(image(), "config", set(image()["config"], "digest", digest))),
                HasSubstr("field \"digest\" of config must be a sha256 or sha512 digest, not \""))
        << digest;
  }
  EXPECT_EQ(refusal(set(image(), "config", set(image()["config"], "digest", 5))),
            "field \"digest\" of config must be a string");
  const Manifest manifest =
      accept(set(image(), "layers", json::array({descriptor(kLayerType, kSha512, 5)})));
  ASSERT_EQ(manifest.blobs.size(), 1U);
  EXPECT_EQ(manifest.blobs[0].digest.str(), kSha512);
}

TEST(Manifest, DescriptorSizes) {
  for (const json& size : json::parse(R"([-1, -9223372036854775808, 18446744073709551615,
      9223372036854775808, 1.5, 1e3, "5", true, [], {}])")) {
    EXPECT_EQ(refusal(set(image(), "config", set(image()["config"], "size", size))),
              "field \"size\" of config must be a whole number of bytes, 0 or more")
        << size;
  }
  for (const json& size : json::parse("[0, 1, 1099511627776, 9223372036854775807]")) {
    const Manifest manifest = accept(set(image(), "config", set(image()["config"], "size", size)));
    ASSERT_TRUE(manifest.config);
    EXPECT_EQ(manifest.config->size, size.get<uint64_t>());
  }
  for (const char* huge : {"18446744073709551616", "99999999999999999999999999999999", "1e400",
                           "-9223372036854775809"}) {
    std::string text = image().dump();
    text.replace(text.find("200"), 3, huge);
    EXPECT_NE(refusal(text), "accepted") << huge;
  }
}

// Go programs leave out what is empty or 0.
TEST(Manifest, DescriptorPlatforms) {
  const auto child = [](const json& platform) {
    json descriptor = index()["manifests"][0];
    descriptor["platform"] = platform;
    return set(index(), "manifests", json::array({descriptor}));
  };
  for (const json& empty : json::parse(R"([null, {}, {"features": 8}, {"os": null}])")) {
    EXPECT_EQ(accept(child(empty)).manifests[0].platform, Platform{});
  }
  EXPECT_EQ(refusal(child("linux")), "the platform of manifests[0] must be a JSON object");
  EXPECT_EQ(refusal(child({{"os", 1}})),
            "field \"os\" of the platform of manifests[0] must be a string");
  EXPECT_EQ(accept(child({{"os", "linux"}, {"architecture", "arm"}, {"variant", "v7"}}))
                .manifests[0]
                .platform,
            (Platform{.architecture = "arm", .os = "linux", .variant = "v7"}));
}

TEST(Manifest, DescriptorsWithoutTypeOrSize) {
  const Manifest manifest =
      accept(set(image(), "layers",
                 {{{"digest", "sha256:" + kHexC}},
                  {{"digest", "sha256:" + kHexC}, {"mediaType", nullptr}, {"size", nullptr}}}));
  ASSERT_EQ(manifest.blobs.size(), 2U);
  for (const Descriptor& layer : manifest.blobs) {
    EXPECT_EQ(layer.media_type, "");
    EXPECT_EQ(layer.size, 0U);
    EXPECT_TRUE(layer.distributable);
  }
}

TEST(Manifest, LayersThatNeedNotBeThere) {
  const std::pair<std::string, bool> types[] = {
      {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", false},
      {"application/vnd.docker.image.rootfs.foreign.diff.tar", false},
      {"application/vnd.oci.image.layer.nondistributable.v1.tar", false},
      {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", false},
      {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", false},
      {"application/vnd.docker.image.rootfs.diff.tar.gzip", true},
      {"application/vnd.oci.image.layer.v1.tar+gzip", true},
      {"application/vnd.oci.empty.v1+json", true},
      {"", true},
  };
  for (const auto& [type, distributable] : types) {
    json layer = descriptor(type, "sha256:" + kHexB, 7);
    for (const json& urls : json::parse("[null, []]")) {
      const Manifest manifest =
          accept(set(image(), "layers", json::array({set(layer, "urls", urls)})));
      ASSERT_EQ(manifest.blobs.size(), 1U);
      EXPECT_EQ(manifest.blobs[0].distributable, distributable) << type;
      EXPECT_THAT(manifest.blobs[0].urls, IsEmpty());
    }
    const Manifest manifest =
        accept(set(image(), "layers",
                   json::array({set(layer, "urls", json::array({"https://example.com/layer"}))})));
    ASSERT_EQ(manifest.blobs.size(), 1U);
    EXPECT_THAT(manifest.blobs[0].urls, ElementsAre("https://example.com/layer"));
    EXPECT_EQ(manifest.blobs[0].distributable, distributable) << type;
    for (const json& wrong : json::parse(R"(["https://example.com", ["https://a", 1], [null]])")) {
      EXPECT_EQ(refusal(set(image(), "layers", json::array({set(layer, "urls", wrong)}))),
                "field \"urls\" of layers[0] must be an array of strings");
    }
  }
}

TEST(Manifest, ArtifactTypes) {
  const std::string empty_config = "application/vnd.oci.empty.v1+json";
  const json artifact_image = with(image(), {{"config", {{"mediaType", empty_config}}},
                                             {"artifactType", "application/vnd.example+type"}});
  EXPECT_EQ(accept(artifact_image).artifact_type, "application/vnd.example+type");
  for (const json& empty : json::parse(R"(["", null])")) {
    EXPECT_EQ(accept(set(artifact_image, "artifactType", empty)).artifact_type, empty_config);
    EXPECT_EQ(accept(set(index(), "artifactType", empty)).artifact_type, "");
  }
}

TEST(Manifest, UnknownFieldsMayHoldAnything) {
  json document = image();
  document["org.example.custom"] = {{"layers", 5}, {"nested", {1, 2.5, nullptr, true, {}}}};
  document["platform"] = 7;
  document["config"]["data"] = "e30=";
  document["config"]["platform"] = {{"os", "linux"}};
  document["config"]["annotations"] = {{"a", "b"}};
  document["config"]["custom"] = json::array({json::object()});
  std::string text = document.dump();
  text.insert(1, R"("twice":1,"twice":{"a":[]},)");
  EXPECT_EQ(accept(text).blobs.size(), 1U);
}

TEST(Manifest, Annotations) {
  EXPECT_EQ(accept(set(image(), "annotations", nullptr)).annotations, "");
  EXPECT_EQ(accept(set(image(), "annotations", json::object())).annotations, "{}");
  EXPECT_NE(refusal(set(image(), "annotations", {{"a", "b"}, {"c", 5}})), "accepted");
  const json tricky = {{"q\"uote\\", "line\n\x01\x7f"}, {"é", "😀"}, {"", ""}};
  EXPECT_EQ(json::parse(accept(set(image(), "annotations", tricky)).annotations), tricky);
}

TEST(Manifest, NotJson) {
  const std::string good = image().dump();
  EXPECT_EQ(refusal(""s), "the manifest is empty");
  EXPECT_FALSE(parse_manifest(std::string_view(), {}));
  for (const std::string& text : {
           " \n"s,
           "{"s,
           "{]"s,
           "<html>"s,
           "\0"s,
           good.substr(0, good.size() - 1),
           good + "}",
           good + good,
           good + "\0"s,
           "\xef\xbb\xbf" + good,
           "{'a':1}"s,
           "{\"a\":1,}"s,
           "{\"a\":01}"s,
           "{\"a\":NaN}"s,
           "{\"a\":\"\xff\"}"s,
           "{\"a\":\"\xed\xa0\x80\"}"s,
           "{\"a\":\"\xc0\xaf\"}"s,
           "{\"a\":\"\\ud800\"}"s,
           "{\"a\":\"\n\"}"s,
           "{\"a\":\"\\x\"}"s,
           "{\"a\":1e}"s,
       }) {
    EXPECT_THAT(refusal(text), testing::StartsWith("the manifest is not valid JSON: ")) << text;
  }
  for (const std::string& text : {"[]"s, "1"s, "\"x\""s, "null"s, "true"s, "[" + good + "]"}) {
    EXPECT_EQ(refusal(text), "the manifest must be a JSON object") << text;
  }
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(refusal(good.substr(0, size)), "accepted") << size;
  }
}

TEST(Manifest, DeepNesting) {
  for (const size_t depth : {10U, 1000U}) {
    std::string text = image().dump();
    text.insert(1, "\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",");
    accept(text);
  }
  for (const size_t depth : {2000U, 100000U, 2000000U}) {
    std::string text = image().dump();
    text.insert(1, "\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",");
    EXPECT_THAT(refusal(text), HasSubstr("not valid JSON"));
    EXPECT_THAT(refusal(std::string(depth, '{')), HasSubstr("not valid JSON"));
    EXPECT_THAT(refusal(std::string(depth, '[')), HasSubstr("not valid JSON"));
  }
}

TEST(Manifest, UpTo4MiB) {
  std::string text = image().dump();
  text.append(kMaxManifestSize - text.size(), ' ');
  accept(text);
  EXPECT_EQ(refusal(text + " "), "the manifest is larger than 4 MiB");

  json large = image();
  for (int i = 0; i < 390; ++i)
    large["annotations"]["a" + std::to_string(i)] = std::string(10000, 'x');
  EXPECT_EQ(json::parse(accept(large).annotations), large["annotations"]);

  json many = image();
  many["layers"] = json::array();
  while (many["layers"].size() < 20000) many["layers"].push_back(image()["config"]);
  EXPECT_EQ(accept(many).blobs.size(), 20000U);

  std::string numbers = R"({"schemaVersion":2,"layers":[)";
  while (numbers.size() < kMaxManifestSize - 8) numbers += "1,";
  EXPECT_EQ(refusal(numbers + "1]," + R"("a":1)").substr(0, 12), "the manifest");
}

}  // namespace
}  // namespace oci

// Manifests: what a registry must know of one to store it, to answer for it and to find what it
// refers to. The pushed bytes are what is stored and served; nothing here rewrites them. Pure.
//
// Docker schema 2 manifest and list, OCI image manifest, image index and artifact manifest.
// OCI image-spec manifest.md, image-index.md; Docker "Image Manifest Version 2, Schema 2".
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"
#include "oci/platform.h"

namespace oci {

namespace media_type {
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciArtifact = "application/vnd.oci.artifact.manifest.v1+json";
}  // namespace media_type

// Manifests of up to 4 MiB are accepted (distribution-spec "Pushing Manifests").
inline constexpr uint64_t kMaxManifestSize = 4 << 20;

struct Descriptor {
  std::string media_type;
  Digest digest;
  uint64_t size = 0;
  std::vector<std::string> urls;  // where else its bytes are said to be
  // Its bytes need not be in the registry: a foreign (Docker) or non-distributable (OCI) layer.
  bool distributable = true;
  Platform platform;  // of an index's child
};

struct Manifest {
  // The manifest's own type: the "mediaType" field if it has one, else by its shape.
  std::string media_type;
  std::string artifact_type;  // the field, or the config's media type; for referrers
  std::optional<Descriptor> config;
  std::vector<Descriptor> blobs;      // layers of an image, blobs of an artifact
  std::vector<Descriptor> manifests;  // children of an index or list
  std::optional<Descriptor> subject;
  // The "annotations" object as JSON text, or empty; referrers repeat it.
  std::string annotations;

  bool is_index() const {
    return media_type == media_type::kOciIndex || media_type == media_type::kDockerList;
  }
};

// `content_type` is the request's Content-Type (parameters ignored) or empty when unknown, as when
// reading back what is stored: what was accepted with a Content-Type is the same manifest without.
// The error is a sentence for the client (MANIFEST_INVALID).
//
// Refused: what is not JSON, more than kMaxManifestSize, schema 1, a type that is not one of the
// five or not the Content-Type's, a manifest that is both image and index, a known field of the
// wrong type, twice or in other letter case. Whether what it refers to exists is for the caller to
// see.
std::expected<Manifest, std::string> parse_manifest(std::string_view bytes,
                                                    std::string_view content_type);

// The type to serve stored bytes with, also those that parse_manifest refuses: what they name
// themselves; Docker's schema 1, which names nothing, by its "signatures"; octets if all else
// fails. For manifests that another program has stored.
std::string stored_media_type(std::string_view bytes);

}  // namespace oci

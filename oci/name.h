// Repository names, tags, references and the /v2/ routes (distribution-spec "Pulling manifests",
// "Endpoints"). Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "oci/digest.h"

namespace oci {

// [a-z0-9]+(([._]|__|-+)[a-z0-9]+)* components joined by '/', at most 255 characters.
bool valid_repository(std::string_view name);
// [A-Za-z0-9_][A-Za-z0-9._-]{0,127}
bool valid_tag(std::string_view tag);

// What follows /manifests/: a tag or a digest.
using Reference = std::variant<std::string, Digest>;
// nullopt if it is neither; text with a ':' is read as a digest only.
std::optional<Reference> parse_reference(std::string_view text);
std::string to_string(const Reference& reference);

// The routes. Names in them are valid; digests and references are kept as text where a malformed
// one must be answered with an error of its own (DIGEST_INVALID) rather than 404.
struct BaseRoute {};     // /v2/ and /v2
struct CatalogRoute {};  // /v2/_catalog
struct TagsRoute {
  std::string repository;
};  // /v2/<name>/tags/list
struct ManifestRoute {
  std::string repository;
  std::string reference;
};  // /v2/<name>/manifests/<reference>
struct BlobRoute {
  std::string repository;
  std::string digest;
};  // /v2/<name>/blobs/<digest>
struct UploadsRoute {
  std::string repository;
};  // …/blobs/uploads/ (POST), also without the last slash
struct UploadRoute {
  std::string repository;
  std::string id;
};  // …/blobs/uploads/<id>; id: [a-zA-Z0-9-_.=]{1,128}, and neither "." nor ".."
struct ReferrersRoute {
  std::string repository;
  std::string digest;
};  // /v2/<name>/referrers/<digest>
// The path has the shape of a route but its repository name is not valid.
struct InvalidNameRoute {
  std::string repository;
};
struct NoRoute {};
using Route = std::variant<NoRoute, InvalidNameRoute, BaseRoute, CatalogRoute, TagsRoute,
                           ManifestRoute, BlobRoute, UploadsRoute, UploadRoute, ReferrersRoute>;

// `path` is percent-decoded, without the query. The repository is everything between "/v2/" and the
// last "/manifests/", "/blobs/", "/tags/" or "/referrers/" that completes a route.
Route parse_route(std::string_view path);

}  // namespace oci

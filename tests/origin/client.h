// What the tests of the registry's API say to it, over a real socket.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"
#include "tests/support/fetch.h"

namespace origin {

inline const std::string kManifestType = "application/vnd.oci.image.manifest.v1+json";

oci::Digest sha256(std::string_view bytes);
oci::Digest sha512(std::string_view bytes);

// Path and query of the answer's Location.
std::string location(const test::Fetched& answer);
// The code of the first error in an answer's body, or "" if it is not an OCI error.
std::string error_code(const test::Fetched& answer);
// All strings in a JSON array under this key.
std::vector<std::string> strings(const test::Fetched& answer, const std::string& key);

test::Fetched call(uint16_t port, const std::string& method, const std::string& target,
                   std::string body = {}, http::Headers headers = {});
http::Headers fields(
    std::initializer_list<std::pair<std::string_view, std::string_view>> name_values);

// A blob in one request; the manifest of an image made of blobs that are there. Test failures if
// the registry refuses.
oci::Digest push_blob(uint16_t port, const std::string& repository, const std::string& bytes);
std::string image(const oci::Digest& config, const std::vector<oci::Digest>& layers,
                  const std::string& more_fields = "");
test::Fetched push_manifest(uint16_t port, const std::string& repository,
                            const std::string& reference, const std::string& manifest);
// Blobs and manifest of an image with that content under a tag; returns the manifest.
std::string push_image(uint16_t port, const std::string& repository, const std::string& tag,
                       const std::string& content);

// What a debug server says of its registry once that contains the text: a response is counted after
// its client has it. Far more attempts than that can take are a failure.
std::string scrape(uint16_t debug_port, const std::string& until);

}  // namespace origin

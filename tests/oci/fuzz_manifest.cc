// The first line is the Content-Type, the rest the manifest. Whatever they hold, a refusal says why
// and what is accepted is the same manifest when it is read back without a Content-Type.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "oci/manifest.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool same(const oci::Descriptor& a, const oci::Descriptor& b) {
  return a.media_type == b.media_type && a.digest == b.digest && a.size == b.size &&
         a.urls == b.urls && a.distributable == b.distributable;
}

bool same(const std::optional<oci::Descriptor>& a, const std::optional<oci::Descriptor>& b) {
  return a.has_value() == b.has_value() && (!a || same(*a, *b));
}

bool same(const std::vector<oci::Descriptor>& a, const std::vector<oci::Descriptor>& b) {
  return std::ranges::equal(
      a, b, [](const oci::Descriptor& x, const oci::Descriptor& y) { return same(x, y); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = std::min(input.find('\n'), input.size());
  const std::string_view body = input.substr(std::min(line + 1, input.size()));

  const auto manifest = oci::parse_manifest(body, input.substr(0, line));
  if (!manifest) {
    const std::string& why = manifest.error();
    require(!why.empty() && why.size() < 500);
    require(std::ranges::all_of(why, [](char c) { return c >= ' ' && c <= '~'; }));
    return 0;
  }
  require(manifest->config.has_value() ==
          (manifest->media_type == oci::media_type::kOciManifest ||
           manifest->media_type == oci::media_type::kDockerManifest));
  require(manifest->manifests.empty() || manifest->is_index());
  require(manifest->blobs.empty() || !manifest->is_index());

  const auto again = oci::parse_manifest(body, "");
  require(again.has_value());
  require(again->media_type == manifest->media_type);
  require(again->artifact_type == manifest->artifact_type);
  require(again->annotations == manifest->annotations);
  require(same(again->config, manifest->config) && same(again->subject, manifest->subject));
  require(same(again->blobs, manifest->blobs) && same(again->manifests, manifest->manifests));
  return 0;
}

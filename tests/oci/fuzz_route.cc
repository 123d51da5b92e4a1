// Whatever a path holds, the routes found in it are safe to act on and say what the path said.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include "oci/name.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

// The path that a route stands for, after having checked the route itself.
struct Rebuild {
  std::string_view path;

  std::string below(const std::string& repository, const std::string& rest) const {
    require(oci::valid_repository(repository));
    return "/v2/" + repository + rest;
  }
  std::string as_it_was() const { return std::string(path); }

  std::string operator()(const oci::NoRoute&) const { return as_it_was(); }
  std::string operator()(const oci::InvalidNameRoute& route) const {
    require(!oci::valid_repository(route.repository));
    require(path.starts_with("/v2/" + route.repository + "/"));
    return as_it_was();
  }
  std::string operator()(const oci::BaseRoute&) const { return path == "/v2" ? "/v2" : "/v2/"; }
  std::string operator()(const oci::CatalogRoute&) const { return "/v2/_catalog"; }
  std::string operator()(const oci::TagsRoute& route) const {
    return below(route.repository, "/tags/list");
  }
  std::string operator()(const oci::ManifestRoute& route) const {
    if (const auto reference = oci::parse_reference(route.reference)) {
      require(oci::to_string(*reference) == route.reference);
    }
    return below(route.repository, "/manifests/" + route.reference);
  }
  std::string operator()(const oci::BlobRoute& route) const {
    if (const auto digest = oci::Digest::parse(route.digest)) {
      require(digest->str() == route.digest);
    }
    require(route.digest != "uploads");
    return below(route.repository, "/blobs/" + route.digest);
  }
  std::string operator()(const oci::UploadsRoute& route) const {
    return below(route.repository, path.ends_with('/') ? "/blobs/uploads/" : "/blobs/uploads");
  }
  std::string operator()(const oci::UploadRoute& route) const {
    require(!route.id.empty() && route.id != "." && route.id != "..");
    require(route.id.find('/') == std::string::npos);
    return below(route.repository, "/blobs/uploads/" + route.id);
  }
  std::string operator()(const oci::ReferrersRoute& route) const {
    return below(route.repository, "/referrers/" + route.digest);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view path(reinterpret_cast<const char*>(data), size);
  require(std::visit(Rebuild{path}, oci::parse_route(path)) == path);
  if (const auto reference = oci::parse_reference(path)) {
    require(oci::to_string(*reference) == path);
    require(path.find('/') == std::string_view::npos && path != "." && path != "..");
  }
  if (oci::valid_repository(path)) require(!oci::valid_repository(std::string(path) + "/.."));
  return 0;
}

#include "oci/name.h"

#include <algorithm>
#include <utility>

#include "base/ascii.h"

namespace oci {
namespace {

constexpr size_t kMaxRepository = 255;
constexpr size_t kMaxTag = 128;
constexpr size_t kMaxUploadId = 128;

bool lower_or_digit(char c) { return base::is_lower(c) || base::is_digit(c); }

// [._]|__|-+
bool valid_separator(std::string_view text) {
  return text == "." || text == "_" || text == "__" || text.find_first_not_of('-') == text.npos;
}

// [a-z0-9]+(<separator>[a-z0-9]+)*
bool valid_component(std::string_view component) {
  if (component.empty()) return false;
  if (!lower_or_digit(component.front()) || !lower_or_digit(component.back())) return false;
  for (auto at = component.begin(); at != component.end();) {
    const auto separator = std::find_if_not(at, component.end(), lower_or_digit);
    at = std::find_if(separator, component.end(), lower_or_digit);
    if (!valid_separator(std::string_view(separator, at))) return false;
  }
  return true;
}

// [a-zA-Z0-9-_.=]+, but "." and ".." name directories and an id becomes a directory's name.
bool valid_upload_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxUploadId && id != "." && id != ".." &&
         std::ranges::all_of(id, [](char c) {
           return base::is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '=';
         });
}

// Takes "/<segment>" off the end of `path`. nullopt, with `path` as it was, if it has no slash.
std::optional<std::string_view> take_last_segment(std::string_view& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view segment = path.substr(slash + 1);
  path = path.substr(0, slash);
  return segment;
}

// `route` if its repository name is valid.
template <typename R>
Route named(R route) {
  if (!valid_repository(route.repository)) return InvalidNameRoute{std::move(route.repository)};
  return route;
}

}  // namespace

bool valid_repository(std::string_view name) {
  if (name.size() > kMaxRepository) return false;
  for (size_t slash; (slash = name.find('/')) != std::string_view::npos;) {
    if (!valid_component(name.substr(0, slash))) return false;
    name.remove_prefix(slash + 1);
  }
  return valid_component(name);
}

bool valid_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > kMaxTag || tag.front() == '.' || tag.front() == '-') return false;
  return std::ranges::all_of(
      tag, [](char c) { return base::is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

std::optional<Reference> parse_reference(std::string_view text) {
  if (text.find(':') != std::string_view::npos) return Digest::parse(text);
  if (valid_tag(text)) return std::string(text);
  return std::nullopt;
}

std::string to_string(const Reference& reference) {
  if (const auto* digest = std::get_if<Digest>(&reference)) return digest->str();
  return std::get<std::string>(reference);
}

// Read from the end, because a repository may well be called "a/blobs/uploads" but the last
// components of a route are fixed.
Route parse_route(std::string_view path) {
  if (path == "/v2" || path == "/v2/") return BaseRoute{};
  if (path == "/v2/_catalog") return CatalogRoute{};
  if (!path.starts_with("/v2/")) return NoRoute{};
  std::string_view name = path.substr(4);

  const auto last = take_last_segment(name);
  const auto kind = take_last_segment(name);
  if (!last || !kind) return NoRoute{};
  if (*kind == "blobs" && *last == "uploads") return named(UploadsRoute{std::string(name)});
  if (*kind == "uploads") {
    const auto above = take_last_segment(name);
    if (above != "blobs") return NoRoute{};
    if (last->empty()) return named(UploadsRoute{std::string(name)});
    if (!valid_upload_id(*last)) return NoRoute{};
    return named(UploadRoute{std::string(name), std::string(*last)});
  }
  if (last->empty()) return NoRoute{};
  if (*kind == "manifests") return named(ManifestRoute{std::string(name), std::string(*last)});
  if (*kind == "blobs") return named(BlobRoute{std::string(name), std::string(*last)});
  if (*kind == "referrers") return named(ReferrersRoute{std::string(name), std::string(*last)});
  if (*kind == "tags" && *last == "list") return named(TagsRoute{std::string(name)});
  return NoRoute{};
}

}  // namespace oci

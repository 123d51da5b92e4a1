#include "cache/layout.h"

#include <string>

namespace cache {
namespace {

constexpr std::string_view kMapSuffix = ".map";

std::string file_name(const oci::Digest& digest) {
  return std::string(oci::algorithm_name(digest.algorithm())) + "-" + digest.hex();
}

}  // namespace

std::filesystem::path Layout::blobs() const { return root_ / "blobs"; }
std::filesystem::path Layout::incoming() const { return root_ / "incoming"; }
std::filesystem::path Layout::index() const { return root_ / "index"; }
std::filesystem::path Layout::references() const { return root_ / "references"; }
std::filesystem::path Layout::lock() const { return root_ / "lock"; }

std::filesystem::path Layout::blob(const oci::Digest& digest) const {
  const std::string hex = digest.hex();
  return blobs() / oci::algorithm_name(digest.algorithm()) / hex.substr(0, 2) / hex;
}

std::filesystem::path Layout::partial(const oci::Digest& digest) const {
  return incoming() / file_name(digest);
}

std::filesystem::path Layout::partial_map(const oci::Digest& digest) const {
  return incoming() / file_name(digest).append(kMapSuffix);
}

std::filesystem::path Layout::new_partial_map(const oci::Digest& digest) const {
  return partial_map(digest) += ".new";
}

std::optional<oci::Digest> Layout::digest_of_blob(const std::filesystem::path& path) const {
  const std::string algorithm = path.parent_path().parent_path().filename();
  const auto digest = oci::Digest::parse(algorithm + ":" + path.filename().string());
  if (!digest || blob(*digest) != path) return std::nullopt;
  return digest;
}

std::optional<oci::Digest> Layout::digest_of_partial(const std::filesystem::path& name) {
  std::string text = name.filename();
  if (text.ends_with(kMapSuffix)) text.resize(text.size() - kMapSuffix.size());
  const size_t dash = text.find('-');
  if (dash == std::string::npos) return std::nullopt;
  text[dash] = ':';
  return oci::Digest::parse(text);
}

}  // namespace cache

// Every path name of the edge's cache directory. Pure.
//
//   <root>/blobs/<algorithm>/<hex[0:2]>/<hex>      a verified blob
//   <root>/incoming/<algorithm>-<hex>              a partial blob: sparse, as long as the blob
//   <root>/incoming/<algorithm>-<hex>.map          its size and block map (see blob_writer.h)
//   <root>/incoming/<algorithm>-<hex>.map.new      the same while it is being saved
//   <root>/index/                                  the LMDB environment
//   <root>/references/                             that of the references
//   <root>/lock                                    locked by the process that uses the directory
#pragma once

#include <filesystem>
#include <optional>

#include "oci/digest.h"

namespace cache {

class Layout {
 public:
  explicit Layout(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path blobs() const;
  std::filesystem::path incoming() const;
  std::filesystem::path index() const;
  std::filesystem::path references() const;
  std::filesystem::path lock() const;
  std::filesystem::path blob(const oci::Digest& digest) const;
  std::filesystem::path partial(const oci::Digest& digest) const;
  std::filesystem::path partial_map(const oci::Digest& digest) const;
  std::filesystem::path new_partial_map(const oci::Digest& digest) const;
  // The digest of a path below blobs/; nullopt if it is not one that blob() gives.
  std::optional<oci::Digest> digest_of_blob(const std::filesystem::path& path) const;
  // The digest of a file name in incoming/ (with or without ".map"); nullopt if it is not one of
  // ours.
  static std::optional<oci::Digest> digest_of_partial(const std::filesystem::path& name);

 private:
  std::filesystem::path root_;
};

}  // namespace cache

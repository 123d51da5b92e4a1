// Storage: the stores of one registry together. See the stores for what each promises.
#pragma once

#include "origin/storage/blob_store.h"
#include "origin/storage/catalog.h"
#include "origin/storage/layout.h"
#include "origin/storage/manifest_store.h"
#include "origin/storage/tag_store.h"
#include "origin/storage/upload_store.h"

namespace origin {

struct Storage {
  explicit Storage(std::filesystem::path root) : layout(std::move(root)) {}
  Storage(const Storage&) = delete;

  const Layout layout;
  BlobStore blobs{layout};
  UploadStore uploads{layout};
  ManifestStore manifests{layout};
  TagStore tags{layout};
  Catalog catalog{layout};
};

}  // namespace origin

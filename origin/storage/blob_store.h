// Blobs: their bytes, shared by all repositories, and each repository's links to those it has.
//
// All functions block: run them on the pool. Any thread, any number of replicas on one directory.
// IoError when the storage fails.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/unique_fd.h"
#include "oci/digest.h"
#include "origin/storage/layout.h"

namespace origin {

class BlobStore {
 public:
  struct Blob {
    base::UniqueFd fd;
    uint64_t size = 0;
  };

  explicit BlobStore(const Layout& layout) : layout_(layout) {}

  // The blob, if the repository has it: its link and its bytes are both there. A link may name the
  // same bytes by another digest (Distribution's "alias" of a sha512).
  std::optional<Blob> open(const std::string& repository, const oci::Digest& digest) const;
  std::optional<uint64_t> size(const std::string& repository, const oci::Digest& digest) const;

  // Gives `to` the blob that `from` has. Without `from`, any blob whose bytes are in the storage.
  // False if there is no such blob, or it cannot be read.
  bool mount(const std::optional<std::string>& from, const std::string& to,
             const oci::Digest& digest);

  // Takes verified bytes, synced in a file of this storage, as the blob, and links it: bytes before
  // link, so that a crash leaves no link without bytes. The file is moved; it stays where it is if
  // the blob's bytes were there already. Other bytes, which a crash of another program may have
  // left, and bytes that cannot be read are replaced.
  void adopt(const std::filesystem::path& file, uint64_t size, const std::string& repository,
             const oci::Digest& digest);

  // Takes the blob from the repository; the bytes stay, for other repositories or for garbage
  // collection. False if the repository had no link to it.
  bool remove(const std::string& repository, const oci::Digest& digest);

 private:
  const Layout& layout_;
};

}  // namespace origin

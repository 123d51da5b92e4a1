#include "origin/storage/blob_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "origin/storage/files.h"

namespace origin {

std::optional<BlobStore::Blob> BlobStore::open(const std::string& repository,
                                               const oci::Digest& digest) const {
  const auto target = read_link(layout_.layer_link(repository, digest));
  if (!target) return std::nullopt;
  Blob blob{open_shared(layout_.blob(*target), O_RDONLY)};
  if (!blob.fd) {
    LOG(WARNING) << repository << " has a link to " << target->str() << " but its bytes are gone";
    return std::nullopt;
  }
  struct stat status{};
  if (::fstat(blob.fd.get(), &status) != 0) throw base::IoError("stat of blob " + target->str());
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  blob.size = static_cast<uint64_t>(status.st_size);
  return blob;
}

std::optional<uint64_t> BlobStore::size(const std::string& repository,
                                        const oci::Digest& digest) const {
  const auto target = read_link(layout_.layer_link(repository, digest));
  return target ? regular_file_size(layout_.blob(*target)) : std::nullopt;
}

bool BlobStore::mount(const std::optional<std::string>& from, const std::string& to,
                      const oci::Digest& digest) {
  const auto target = from ? read_link(layout_.layer_link(*from, digest)) : digest;
  if (!target || !regular_file_size(layout_.blob(*target))) return false;
  write_link(layout_.layer_link(to, digest), *target);
  return true;
}

void BlobStore::adopt(const std::filesystem::path& file, uint64_t size,
                      const std::string& repository, const oci::Digest& digest) {
  const std::filesystem::path place = layout_.blob(digest);
  const auto present = regular_file_size(place);
  if (present == size) {
    // Who put it there may not have synced it yet, or never does (Distribution); we acknowledge it.
    base::sync_existing(place);
  } else {
    if (present) {
      LOG(WARNING) << digest.str() << " had " << *present << " bytes in the storage instead of "
                   << size << ", replaced";
    }
    base::rename_durably(file, place);
    base::crash_point("blob.renamed");
  }
  write_link(layout_.layer_link(repository, digest), digest);
  base::crash_point("blob.linked");
}

bool BlobStore::remove(const std::string& repository, const oci::Digest& digest) {
  return remove_file(layout_.layer_link(repository, digest));
}

}  // namespace origin

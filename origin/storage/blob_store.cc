#include "origin/storage/blob_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>

#include <vector>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "origin/storage/action.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// A file without bytes is what a crash of Distribution's host leaves (before 3.1). It counts as
// absent, so that clients send the blob again.
bool torn(uint64_t size, const oci::Digest& digest) {
  if (size > 0 || digest == oci::Digest::of(digest.algorithm(), "")) return false;
  LOG(WARNING) << digest.str() << " is empty in the storage, taken as absent";
  return true;
}

std::optional<uint64_t> size_of(const std::filesystem::path& file, const oci::Digest& digest) {
  const auto size = regular_file_size(file);
  return size && !torn(*size, digest) ? size : std::nullopt;
}

// Whether the file's bytes are what the digest says.
bool holds(const std::filesystem::path& file, const oci::Digest& digest) {
  const ActionTimer timer(Action::reader);
  const base::UniqueFd fd = open_shared(file, O_RDONLY);
  if (!fd) return false;
  oci::Hasher hasher(digest.algorithm());
  std::vector<char> block(kReadBlock);
  while (const size_t n = base::read_at(fd.get(), hasher.length(), block.data(), block.size())) {
    hasher.update({block.data(), n});
  }
  return hasher.digest() == digest;
}

}  // namespace

std::optional<BlobStore::Blob> BlobStore::open(const std::string& repository,
                                               const oci::Digest& digest) const {
  const auto target = read_link(layout_.layer_link(repository, digest));
  if (!target) return std::nullopt;
  const ActionTimer timer(Action::reader);
  Blob blob{open_shared(layout_.blob(*target), O_RDONLY)};
  if (!blob.fd) {
    LOG(WARNING) << repository << " has a link to " << target->str() << " but its bytes are gone";
    return std::nullopt;
  }
  struct stat status{};
  if (::fstat(blob.fd.get(), &status) != 0) throw base::IoError("stat of blob " + target->str());
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  blob.size = static_cast<uint64_t>(status.st_size);
  if (torn(blob.size, *target)) return std::nullopt;
  return blob;
}

std::optional<uint64_t> BlobStore::size(const std::string& repository,
                                        const oci::Digest& digest) const {
  const auto target = read_link(layout_.layer_link(repository, digest));
  return target ? size_of(layout_.blob(*target), *target) : std::nullopt;
}

bool BlobStore::mount(const std::optional<std::string>& from, const std::string& to,
                      const oci::Digest& digest) {
  const auto target = from ? read_link_of_many(layout_.layer_link(*from, digest)) : digest;
  if (!target) return false;
  if (!one_of_many([&] { return size_of(layout_.blob(*target), *target); })) return false;
  write_link(layout_.layer_link(to, digest), *target);
  return true;
}

void BlobStore::adopt(const std::filesystem::path& file, uint64_t size,
                      const std::string& repository, const oci::Digest& digest) {
  const std::filesystem::path place = layout_.blob(digest);
  const auto present = one_of_many([&] { return regular_file_size(place); });
  std::optional<bool> intact = false;
  if (present == size) intact = one_of_many([&] { return std::optional(holds(place, digest)); });
  if (intact.value_or(false)) {
    // Who put it there may not have synced it yet, or never does (Distribution); we acknowledge it.
    base::sync_existing(place);
  } else {
    if (present) {
      LOG(WARNING) << digest.str() << " had " << *present << " bytes in the storage that "
                   << (intact ? "are not its own" : "could not be read") << ", replaced";
    }
    const ActionTimer timer(Action::move);
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

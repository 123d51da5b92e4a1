#include "origin/storage/upload_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <ctime>
#include <vector>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/uuid.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

constexpr uint64_t kMaxStartedAt = 64;
constexpr uint64_t kMaxHashState = 4096;
constexpr size_t kReadBlock = 1 << 20;

std::string rfc3339_now() {
  const time_t now = std::time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

struct stat status_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw base::IoError("stat of upload data");
  return status;
}

// False if another request holds the lock. A file system without locks counts as locked: appends
// are checked too, see Upload::append.
bool lock(int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  LOG_FIRST_N(WARNING, 1) << "the storage cannot lock files: two requests that write the same "
                             "upload at once will both fail";
  return true;
}

// Whether the path still names the file that was opened: a commit moves it, a cancel removes it.
bool same_file(int fd, const std::filesystem::path& path) {
  struct stat named{};
  if (::stat(path.c_str(), &named) != 0) return false;
  const struct stat opened = status_of(fd);
  return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

}  // namespace

Upload::Upload(const Layout& layout, std::string repository, std::string id, base::UniqueFd fd,
               uint64_t size)
    : layout_(&layout),
      repository_(std::move(repository)),
      id_(std::move(id)),
      fd_(std::move(fd)),
      size_(size) {
  if (size_ == 0) {
    hasher_.emplace(oci::Algorithm::sha256);
    return;
  }
  const auto state =
      base::read_file(layout_->upload_hash_state(repository_, id_, size_), kMaxHashState);
  if (!state) return;
  hasher_ = oci::Hasher::restore(oci::Algorithm::sha256, *state);
  if (!hasher_ || hasher_->length() != size_) {
    LOG(WARNING) << "upload " << id_ << ": the saved hash at " << size_ << " is unusable";
    hasher_.reset();
  }
}

void Upload::append(std::string_view bytes) {
  // The offset does not matter to a file opened with O_APPEND; that the file has grown by just
  // these bytes shows that nobody else writes it.
  base::write_at(fd_.get(), size_, bytes);
  size_ += bytes.size();
  if (hasher_) hasher_->update(bytes);
  if (static_cast<uint64_t>(status_of(fd_.get()).st_size) != size_) {
    hasher_.reset();
    throw base::IoError(EBUSY, "upload " + id_ + " is written by two requests at once");
  }
  base::crash_point("upload.appended");
}

void Upload::save() {
  if (::fdatasync(fd_.get()) != 0) throw base::IoError("syncing upload " + id_);
  if (!hasher_ || size_ == 0) return;
  base::write_file_durably(layout_->upload_hash_state(repository_, id_, size_), hasher_->save());
}

void Upload::truncate(uint64_t size) {
  CHECK_LE(size, size_);
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
    throw base::IoError("truncating upload " + id_);
  }
  size_ = size;
  hasher_.reset();
}

bool Upload::commit(const oci::Digest& digest, BlobStore& blobs) {
  if (this->digest(digest.algorithm()) != digest) return false;
  base::crash_point("upload.verified");
  if (::fsync(fd_.get()) != 0) throw base::IoError("syncing upload " + id_);
  base::crash_point("blob.synced");
  blobs.adopt(layout_->upload_data(repository_, id_), size_, repository_, digest);
  cancel();
  base::crash_point("upload.removed");
  return true;
}

void Upload::cancel() { remove_tree(layout_->upload(repository_, id_)); }

oci::Digest Upload::digest(oci::Algorithm algorithm) const {
  if (hasher_ && algorithm == oci::Algorithm::sha256) return hasher_->digest();
  oci::Hasher hasher(algorithm);
  std::vector<char> block(kReadBlock);
  while (hasher.length() < size_) {
    const size_t n = base::read_at(fd_.get(), hasher.length(), block.data(), block.size());
    if (n == 0) throw base::IoError(EIO, "upload " + id_ + " has become shorter");
    hasher.update({block.data(), n});
  }
  return hasher.digest();
}

std::string UploadStore::create(const std::string& repository) {
  // Distribution's upload purger knows uploads by this form.
  std::string id = base::random_uuid();
  base::write_file_durably(layout_.upload_started_at(repository, id), rfc3339_now());
  // Last, because the data file is what makes an upload exist.
  const std::filesystem::path data = layout_.upload_data(repository, id);
  if (!base::open_file(data, O_WRONLY | O_CREAT | O_EXCL)) {
    throw base::IoError(ENOENT, "creating " + data.string());
  }
  base::crash_point("upload.created");
  return id;
}

std::optional<UploadStatus> UploadStore::status(const std::string& repository,
                                                const std::string& id) const {
  // Opened, because another replica may have written it: see "Shared storage" in files.h.
  const base::UniqueFd fd = open_shared(layout_.upload_data(repository, id), O_RDONLY);
  if (!fd) return std::nullopt;
  const auto size = static_cast<uint64_t>(status_of(fd.get()).st_size);
  const auto started = base::read_file(layout_.upload_started_at(repository, id), kMaxStartedAt);
  return UploadStatus{size, started.value_or("")};
}

std::expected<Upload, UploadUnavailable> UploadStore::open(const std::string& repository,
                                                           const std::string& id) {
  const std::filesystem::path path = layout_.upload_data(repository, id);
  base::UniqueFd fd = open_shared(path, O_RDWR | O_APPEND);
  if (!fd) return std::unexpected(UploadUnavailable::unknown);
  if (!lock(fd.get())) return std::unexpected(UploadUnavailable::busy);
  if (!same_file(fd.get(), path)) return std::unexpected(UploadUnavailable::unknown);
  const auto size = static_cast<uint64_t>(status_of(fd.get()).st_size);
  return Upload(layout_, repository, id, std::move(fd), size);
}

}  // namespace origin

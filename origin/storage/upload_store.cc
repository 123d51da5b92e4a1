#include "origin/storage/upload_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/uuid.h"
#include "origin/storage/action.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

constexpr uint64_t kMaxStartedAt = 64;
constexpr uint64_t kMaxHashState = 4096;

std::string rfc3339_now() {
  const time_t now = std::time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

// Distribution writes UTC without a fraction; that is all that is understood.
std::optional<std::chrono::system_clock::time_point> parse_rfc3339(const std::string& text) {
  tm utc{};
  const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

// A file beside the data that nobody else knows.
std::filesystem::path private_name(const std::filesystem::path& data) {
  return data.string() + "." + base::random_uuid();
}

// The upload's bytes, if it has not ended. Where a commit on another host has moved them to, this
// one may still reach them by this name, so its directory is asked first.
base::UniqueFd open_data(const Layout& layout, const std::string& repository, const std::string& id,
                         int flags) {
  if (!refresh(layout.upload(repository, id))) return {};
  return base::open_file(layout.upload_data(repository, id), flags);
}

base::IoError taken_over(const std::string& id) {
  return {EBUSY, "upload " + id + " has been taken over by another request"};
}

struct stat status_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw base::IoError("stat of upload data");
  return status;
}

}  // namespace

Upload::Upload(const Layout& layout, std::string repository, std::string id, UploadLease lease,
               base::UniqueFd fd, uint64_t size, oci::Algorithm algorithm)
    : layout_(&layout),
      repository_(std::move(repository)),
      id_(std::move(id)),
      lease_(std::move(lease)),
      fd_(std::move(fd)),
      size_(size),
      own_file_(!lease_.inherited()),
      algorithm_(algorithm) {
  restore_hash();
}

void Upload::restore_hash() {
  if (size_ == 0) {
    hasher_.emplace(algorithm_);
    return;
  }
  // One that lost its lease may have saved a state for bytes that the upload does not have.
  if (!own_file_ || open_shared(layout_->upload_inherited(repository_, id_), O_RDONLY)) return;
  const auto state = base::read_file(
      layout_->upload_hash_state(repository_, id_, size_, algorithm_), kMaxHashState);
  if (!state) return;
  hasher_ = oci::Hasher::restore(algorithm_, *state);
  if (!hasher_ || hasher_->length() != size_) {
    LOG(WARNING) << "upload " << id_ << ": the saved hash at " << size_ << " is unusable";
    hasher_.reset();
  }
}

// Before anything is written: into a file of its own, out of reach of the lease's last holder.
void Upload::take_over() {
  if (own_file_) return;
  base::write_file_durably(layout_->upload_inherited(repository_, id_), "");
  const std::filesystem::path data = layout_->upload_data(repository_, id_);
  const std::filesystem::path copy = private_name(data);
  base::UniqueFd fd = base::open_file(copy, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
  if (!fd) throw base::IoError(ENOENT, "creating " + copy.string());
  std::vector<char> block(kReadBlock);
  for (uint64_t done = 0; done < size_;) {
    const size_t want = std::min<uint64_t>(block.size(), size_ - done);
    if (base::read_at(fd_.get(), done, block.data(), want) != want) {
      throw base::IoError(EIO, "upload " + id_ + " has become shorter");
    }
    base::write_at(fd.get(), done, {block.data(), want});
    done += want;
    lease_.renew();
  }
  if (::fsync(fd.get()) != 0) throw base::IoError("syncing upload " + id_);
  base::rename_durably(copy, data);
  fd_ = std::move(fd);
  own_file_ = true;
}

void Upload::append(std::string_view bytes) {
  const ActionTimer timer(Action::writer);
  take_over();
  lease_.renew();
  // The offset does not matter to a file opened with O_APPEND. Whether somebody else writes it too
  // is seen at the end, by its length: for that NFS waits until the server has all that was
  // written.
  base::write_at(fd_.get(), size_, bytes);
  size_ += bytes.size();
  if (hasher_) hasher_->update(bytes);
  base::crash_point("upload.appended");
}

// After a failed fsync(2) the kernel takes the pages for clean: the next one succeeds, and the
// bytes are on no disk. So the upload ends, and the client sends them again.
void Upload::sync() {
  int error = base::fault_point("upload.sync", id_.c_str());
  if (error == 0 && ::fsync(fd_.get()) != 0) error = errno;
  if (error == 0) return;
  // Another request may have taken it over meanwhile.
  if (names_file(layout_->upload_data(repository_, id_), fd_.get())) cancel();
  throw base::IoError(error, "syncing upload " + id_ + ", which is ended");
}

void Upload::save() {
  sync();
  const bool ours = names_file(layout_->upload_data(repository_, id_), fd_.get());
  if (!ours || !alone()) throw taken_over(id_);
  if (!hasher_ || size_ == 0) return;
  base::write_file_durably(layout_->upload_hash_state(repository_, id_, size_, algorithm_),
                           hasher_->save());
}

void Upload::truncate(uint64_t size) {
  CHECK_LE(size, size_);
  take_over();
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
    throw base::IoError("truncating upload " + id_);
  }
  size_ = size;
  hasher_.reset();
}

bool Upload::alone() const { return static_cast<uint64_t>(status_of(fd_.get()).st_size) == size_; }

bool Upload::commit(const oci::Digest& digest, BlobStore& blobs) {
  take_over();
  if (this->digest(digest.algorithm()) != digest) return false;
  base::crash_point("upload.verified");
  sync();
  base::crash_point("blob.synced");
  const std::filesystem::path file = take_data();
  try {
    blobs.adopt(file, size_, repository_, digest);
  } catch (const base::IoError&) {
    // Not acknowledged, so the upload stays, unless the file has become the blob already.
    ::rename(file.c_str(), layout_->upload_data(repository_, id_).c_str());
    throw;
  }
  cancel();
  base::crash_point("upload.removed");
  return true;
}

// Moves the data to a name that nobody else knows; what is opened from now on is not it.
std::filesystem::path Upload::take_data() {
  const std::filesystem::path data = layout_->upload_data(repository_, id_);
  std::filesystem::path file = private_name(data);
  if (::rename(data.c_str(), file.c_str()) != 0) {
    if (errno == ENOENT) throw taken_over(id_);
    throw base::IoError("renaming " + data.string());
  }
  if (alone() && names_file(file, fd_.get())) return file;
  // Somebody else's, which goes back to them; or ours, with bytes in it that were not hashed.
  ::rename(file.c_str(), data.c_str());
  throw taken_over(id_);
}

void Upload::cancel() {
  // Closed before they are removed: on NFS an open file would stay, and its directory with it.
  ::unlink(layout_->upload_data(repository_, id_).c_str());
  fd_.reset();
  lease_.release();
  remove_tree(layout_->upload(repository_, id_));
}

oci::Digest Upload::digest(oci::Algorithm algorithm) {
  if (hasher_ && algorithm == algorithm_) return hasher_->digest();
  oci::Hasher hasher(algorithm);
  std::vector<char> block(kReadBlock);
  while (hasher.length() < size_) {
    const size_t want = std::min<uint64_t>(block.size(), size_ - hasher.length());
    if (base::read_at(fd_.get(), hasher.length(), block.data(), want) != want) {
      throw base::IoError(EIO, "upload " + id_ + " has become shorter");
    }
    hasher.update({block.data(), want});
    lease_.renew();
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
  const base::UniqueFd fd = open_data(layout_, repository, id, O_RDONLY);
  if (!fd) return std::nullopt;
  const auto size = static_cast<uint64_t>(status_of(fd.get()).st_size);
  const auto started = base::read_file(layout_.upload_started_at(repository, id), kMaxStartedAt);
  return UploadStatus{size, started.value_or("")};
}

std::expected<Upload, UploadUnavailable> UploadStore::open(const std::string& repository,
                                                           const std::string& id,
                                                           oci::Algorithm algorithm) {
  auto lease = UploadLease::take(layout_.upload_lease(repository, id));
  if (!lease) return std::unexpected(lease.error());
  base::UniqueFd fd = open_data(layout_, repository, id, O_RDWR | O_APPEND);
  if (!fd) return std::unexpected(UploadUnavailable::unknown);
  const auto size = static_cast<uint64_t>(status_of(fd.get()).st_size);
  return Upload(layout_, repository, id, std::move(*lease), std::move(fd), size, algorithm);
}

std::vector<std::string> UploadStore::list(const std::string& repository) const {
  return list_directories(layout_.uploads(repository));
}

std::optional<uint64_t> UploadStore::unused_size(const std::string& repository,
                                                 const std::string& id,
                                                 std::chrono::system_clock::time_point time) const {
  const std::filesystem::path upload = layout_.upload(repository, id);
  base::UniqueFd fd = open_data(layout_, repository, id, O_RDONLY);
  const bool has_data = static_cast<bool>(fd);
  // What a crash has left of one that became a blob, or was cancelled, has the directory's time.
  if (!has_data) fd = open_shared(upload, O_RDONLY | O_DIRECTORY);
  if (!fd) return std::nullopt;
  const struct stat s = status_of(fd.get());
  const auto written = std::chrono::system_clock::from_time_t(s.st_mtim.tv_sec);
  const auto text = base::read_file(layout_.upload_started_at(repository, id), kMaxStartedAt);
  const auto started = text ? parse_rfc3339(*text) : std::nullopt;
  if (written >= time || started.value_or(written) >= time) return std::nullopt;
  return has_data ? static_cast<uint64_t>(s.st_size) : 0;
}

std::optional<uint64_t> UploadStore::remove_unused(const std::string& repository,
                                                   const std::string& id,
                                                   std::chrono::system_clock::time_point time) {
  if (!unused_size(repository, id, time)) return std::nullopt;
  auto lease = UploadLease::take(layout_.upload_lease(repository, id));
  if (!lease) return std::nullopt;
  // Once more, now that nobody writes it. The lease has touched the directory of one without data.
  const auto size = unused_size(repository, id, time);
  if (!size && open_data(layout_, repository, id, O_RDONLY)) return std::nullopt;
  ::unlink(layout_.upload_data(repository, id).c_str());
  lease->release();
  remove_tree(layout_.upload(repository, id));
  return size.value_or(0);
}

}  // namespace origin

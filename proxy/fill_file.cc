#include "proxy/fill_file.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/durable_file.h"
#include "base/error.h"

namespace proxy {
namespace {

std::vector<Span> present_spans(const cache::BlobWriter& writer) {
  std::vector<Span> spans;
  for (uint64_t block = 0; block < writer.blocks(); ++block) {
    if (!writer.has(block)) continue;
    const uint64_t begin = block * cache::kBlockSize;
    spans.push_back({begin, std::min(begin + cache::kBlockSize, writer.size())});
  }
  return spans;
}

// Somebody else may open it. True if that cannot be told.
bool has_a_name(int file) {
  struct stat facts{};
  return ::fstat(file, &facts) != 0 || facts.st_nlink != 0;
}

}  // namespace

void FillFile::hold(std::shared_ptr<const cache::Blob> blob) {
  file_ = blob->duplicate();
  const std::lock_guard lock(mutex_);
  blob_ = std::move(blob);
}

std::expected<FillFile::Present, Ending> FillFile::begin(const CurrentStore& store, uint64_t size) {
  const std::lock_guard lock(mutex_);
  size_ = size;
  std::shared_ptr<cache::BlobStore> current = store();
  if (!current) {
    return std::unexpected(Ending{Outcome::no_space, "another process has the cache now", ""});
  }
  auto writer = current->write(digest_, size, account_);
  if (!writer && writer.error() == cache::NoWriter::no_space) {
    return std::unexpected(
        Ending{Outcome::no_space,
               "no room for " + std::to_string(size) +
                   " bytes beside what is in use, in the cache or in the upstream's quota",
               ""});
  }
  if (!writer) {
    return std::unexpected(Ending{Outcome::storage_failed, "nothing can be stored now", ""});
  }
  store_ = std::move(current);
  writer_ = std::move(*writer);
  file_.reset(::fcntl(writer_->fd(), F_DUPFD_CLOEXEC, 0));
  if (!file_) throw base::IoError("dup");
  return Present{present_spans(*writer_), !writer_->of_this_boot()};
}

void FillFile::write(uint64_t offset, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (lost_) throw base::IoError(ENOSPC, "another process has the cache now");
  if (writer_) {
    writer_->write(offset, bytes);
  } else {
    base::write_at(file_.get(), offset, bytes);
  }
}

void FillFile::mark(const Progress& progress, Span bytes) {
  const std::lock_guard lock(mutex_);
  if (!writer_) return;
  for (uint64_t block = bytes.begin / cache::kBlockSize; block * cache::kBlockSize < bytes.end;
       ++block) {
    const uint64_t begin = block * cache::kBlockSize;
    if (progress.covers({begin, std::min(begin + cache::kBlockSize, size_)})) writer_->mark(block);
  }
}

void FillFile::commit(const CurrentStore& store) {
  const std::lock_guard lock(mutex_);
  if (!purged_ && (writer_ || write_again(store))) blob_ = writer_->commit();
}

// Hashed once more: what is read here was hashed as it came, and not from the disk.
bool FillFile::write_again(const CurrentStore& current) {
  std::shared_ptr<cache::BlobStore> store = current();
  if (!store) return false;
  auto writer = store->write(digest_, size_, account_);
  if (!writer) return false;
  oci::Hasher hasher(digest_.algorithm());
  std::string bytes;
  for (uint64_t block = 0; block < (*writer)->blocks(); ++block) {
    const uint64_t at = block * cache::kBlockSize;
    bytes.resize(std::min(cache::kBlockSize, size_ - at));
    if (base::read_at(file_.get(), at, bytes.data(), bytes.size()) != bytes.size()) break;
    hasher.update(bytes);
    (*writer)->write(at, bytes);
    (*writer)->mark(block);
  }
  if (hasher.digest() != digest_) {
    (*writer)->discard();
    return false;
  }
  store_ = std::move(store);
  writer_ = std::move(*writer);
  return true;
}

void FillFile::leave(bool discard) {
  const std::lock_guard lock(mutex_);
  if (writer_ && (discard || purged_)) writer_->discard();
  if (writer_ && !blob_) {
    // Without a file nobody reads it, and its room is free.
    if (file_) space_ = writer_->take_space();
    lost_ = has_a_name(file_.get());
  }
  writer_.reset();
  store_.reset();
}

bool FillFile::purge() {
  const std::lock_guard lock(mutex_);
  if (blob_ || purged_) return false;
  purged_ = true;
  return true;
}

void FillFile::let_go() {
  const std::lock_guard lock(mutex_);
  if (!writer_) return;
  if (!blob_) {
    writer_->discard();
    space_ = writer_->take_space();
    lost_ = has_a_name(file_.get());
    LOG_IF(ERROR, lost_) << digest_.str()
                         << " goes on without its file, whose name cannot be removed";
  }
  writer_.reset();
  store_.reset();
}

std::shared_ptr<const cache::Blob> FillFile::blob() const {
  const std::lock_guard lock(mutex_);
  return blob_;
}

}  // namespace proxy

// Uploads: blobs on their way in. All state is in the shared tree, so that any replica, or
// Distribution itself, can go on with an upload that another began.
//
// All functions block: run them on the pool. Any thread for the store; an Upload belongs to one
// request. IoError when the storage fails.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "oci/digest.h"
#include "origin/storage/blob_store.h"
#include "origin/storage/layout.h"

namespace origin {

struct UploadStatus {
  uint64_t size = 0;
  std::string started_at;  // as stored
};

// An upload that this request, and no other, may write: it holds a lock on the data file (best
// effort where the file system has no locks) until it is destroyed.
class Upload {
 public:
  Upload(Upload&&) = default;

  uint64_t size() const { return size_; }

  // Appends and hashes. IoError (EBUSY) if somebody else has written in spite of the lock.
  void append(std::string_view bytes);

  // Syncs the bytes and saves the state of the hash for whoever goes on: in this order, so that a
  // saved state always speaks for bytes that are there.
  void save();

  // Forgets what came after `size`, an earlier value of size().
  void truncate(uint64_t size);

  // Makes the upload a blob of the repository, durably, and ends it. If its bytes do not have the
  // digest nothing happens, false is returned and the upload stays.
  bool commit(const oci::Digest& digest, BlobStore& blobs);

  // Ends the upload and forgets its bytes.
  void cancel();

 private:
  friend class UploadStore;
  Upload(const Layout& layout, std::string repository, std::string id, base::UniqueFd fd,
         uint64_t size);
  oci::Digest digest(oci::Algorithm algorithm) const;

  const Layout* layout_;
  std::string repository_;
  std::string id_;
  base::UniqueFd fd_;  // O_APPEND, locked
  uint64_t size_;
  // The sha256 of the bytes so far; none if nobody left a state for it, then the bytes are read
  // again at the end.
  std::optional<oci::Hasher> hasher_;
};

enum class UploadUnavailable {
  unknown,  // no such upload
  busy,     // another request is writing it
};

class UploadStore {
 public:
  explicit UploadStore(const Layout& layout) : layout_(layout) {}

  // Begins an upload and returns its id, a random UUID.
  std::string create(const std::string& repository);

  std::optional<UploadStatus> status(const std::string& repository, const std::string& id) const;

  std::expected<Upload, UploadUnavailable> open(const std::string& repository,
                                                const std::string& id);

 private:
  const Layout& layout_;
};

}  // namespace origin

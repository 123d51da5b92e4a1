// Uploads: blobs on their way in. All state is in the shared tree, so that any replica, or
// Distribution itself, can go on with an upload that another began.
//
// One request at a time writes an upload: it holds the upload's lease (upload_lease.h). What holds
// without a lock service, on NFS too:
//
// - Two live requests never write one upload; the second is told that it is busy.
// - Whoever takes a lease over from a request that seems to be dead first copies the bytes into a
//   new file and renames that over the old one. If the other lives after all, what it still writes
//   goes to a file that has no name, and its next save() or commit() fails (EBUSY). From then on
//   the upload's saved hashes are not believed either: its bytes are read again at the end.
// - A commit first moves the data to a name that only it knows, and sees that it is its own file
//   and has the length that was hashed; only then it becomes the blob. So no writer that comes
//   late, be it one that has the upload open still, ever reaches a blob.
//
// What remains: a host that stops for minutes between looking at its lease and removing it may
// remove another's; and Distribution, which knows no leases, must not write the same upload at the
// same time (what it adds shows in the file's length, and the request fails).
//
// All functions block: run them on the pool. Any thread for the store; an Upload belongs to one
// request. IoError when the storage fails.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "oci/digest.h"
#include "origin/storage/blob_store.h"
#include "origin/storage/layout.h"
#include "origin/storage/upload_lease.h"

namespace origin {

struct UploadStatus {
  uint64_t size = 0;
  std::string started_at;  // as stored
};

// An upload that this request, and no other, may write until it is destroyed.
class Upload {
 public:
  Upload(Upload&&) = default;

  uint64_t size() const { return size_; }

  // Whether the bytes are to be taken over first from a holder that seems to have died. Whatever
  // writes does so, unless take_over() was called before; it takes as long as they are many.
  bool inherited() const { return !own_file_; }
  void take_over();

  // Appends and hashes. Whether somebody else has written in spite of the lease shows in save() and
  // commit().
  void append(std::string_view bytes);

  // Syncs the bytes and saves the state of the hash for whoever goes on: in this order, so that a
  // saved state always speaks for bytes that are there. IoError (EBUSY) if the upload has been
  // taken over, or written by somebody else, as for commit().
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
  Upload(const Layout& layout, std::string repository, std::string id, UploadLease lease,
         base::UniqueFd fd, uint64_t size, oci::Algorithm algorithm);
  void restore_hash();
  void sync();
  // Whether the file has just the bytes that were appended here, or were there before.
  bool alone() const;
  std::filesystem::path take_data();
  oci::Digest digest(oci::Algorithm algorithm);

  const Layout* layout_;
  std::string repository_;
  std::string id_;
  UploadLease lease_;
  base::UniqueFd fd_;  // O_APPEND
  uint64_t size_;
  bool own_file_;  // the file that fd_ is: nobody else can have it open to write
  oci::Algorithm algorithm_;
  // The hash of the bytes so far; none if nobody left a state for it, then the bytes are read
  // again at the end.
  std::optional<oci::Hasher> hasher_;
};

class UploadStore {
 public:
  explicit UploadStore(const Layout& layout) : layout_(layout) {}

  // Begins an upload and returns its id, a random UUID.
  std::string create(const std::string& repository);

  std::optional<UploadStatus> status(const std::string& repository, const std::string& id) const;

  // `algorithm` is of the digest that the upload is likely to get: for another one its bytes are
  // read again at the end.
  std::expected<Upload, UploadUnavailable> open(const std::string& repository,
                                                const std::string& id,
                                                oci::Algorithm algorithm = oci::Algorithm::sha256);

  // The ids of a repository's uploads, and of what is left of some.
  std::vector<std::string> list(const std::string& repository) const;

  // The bytes of an upload that began (by its startedat; where that says nothing, by its data) and
  // was last written before `time`; nullopt if it is not so or there is no such upload.
  std::optional<uint64_t> unused_size(const std::string& repository, const std::string& id,
                                      std::chrono::system_clock::time_point time) const;
  // Removes such an upload, unless a request holds it. Its size, if it was removed.
  std::optional<uint64_t> remove_unused(const std::string& repository, const std::string& id,
                                        std::chrono::system_clock::time_point time);

 private:
  const Layout& layout_;
};

}  // namespace origin

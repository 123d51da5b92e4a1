// BlobStore: the edge's verified blobs on local disk, within a byte budget.
//
// A blob is in the store only after its digest was verified; what is being fetched is a partial
// blob (BlobWriter). The index (LMDB) says what is held, so a start reads the index, never the
// tree. Thread-safe. Functions marked "blocks" do file or LMDB work: run them on the pool.
#pragma once

#include <cstdint>
#include <expected>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "oci/digest.h"

namespace cache {

inline constexpr uint64_t kBlockSize = 1 << 20;

class BlobWriter;

// A verified blob, open. While anyone holds it the blob is not evicted, and its bytes stay readable
// whatever happens to the name.
class Blob {
 public:
  virtual ~Blob() = default;
  virtual int fd() const = 0;
  virtual uint64_t size() const = 0;
  virtual int64_t stored_at() const = 0;  // Unix seconds
};

struct BlobStoreOptions {
  std::filesystem::path root;
  uint64_t capacity = 0;    // bytes, of blobs and partial blobs together
  size_t hot_blobs = 4096;  // blobs kept open
  // Blobs that take fewer bytes than this are small, and this share of the capacity is kept for
  // them: large ones do not push them out of it.
  uint64_t small_blob = 1 << 20;
  double small_share = 0.05;
  // The most bytes of the blobs of an account, by its name. An account is whoever write() says,
  // such as an upstream; one that is not here has no bound but the capacity.
  std::map<std::string, uint64_t> quotas;
};

struct AccountStats {
  uint64_t blobs = 0;
  uint64_t bytes = 0;  // of blobs and partial blobs
};

// Bytes are what files take on disk: each is rounded up to 4 KiB. The first three never exceed the
// capacity together, but after a start with a smaller one than before, until it has evicted.
struct StoreStats {
  uint64_t blobs = 0;
  uint64_t blob_bytes = 0;
  uint64_t reserved_bytes = 0;  // of partial blobs: their whole size
  uint64_t unlinked_bytes = 0;  // of blobs that are gone but still being read or removed
  uint64_t capacity = 0;
  uint64_t evicted = 0;
  std::map<std::string, AccountStats> accounts;  // by name; "" is who has none
};

// Why there is no writer.
enum class NoWriter { no_space /* the blob does not fit beside what is in use or pinned */ };

class BlobStore {
 public:
  // Opens the directory, which no other process may use (IoError), creates what is missing, reads
  // the index, reconciles incoming/: partial blobs with a sound map are kept for a resume and their
  // space is reserved, anything else there is removed. A blob file that the rename put in place but
  // the index does not know yet (crash in between) is found through its partial map and indexed. An
  // index that cannot be read is rebuilt from the tree. Blocks; IoError.
  explicit BlobStore(const BlobStoreOptions& options);
  // REQUIRES: no writer is left. Open blobs may outlive the store. Blocks.
  ~BlobStore();

  // A blob that is already open; never blocks. Counts as a use.
  std::shared_ptr<const Blob> hot(const oci::Digest& digest);
  // The blob, or nullptr if it is not held. Counts as a use. A file that is gone or has another
  // size than the index says is dropped from the index with a log line. Blocks; IoError.
  std::shared_ptr<const Blob> open(const oci::Digest& digest);
  // True if held; not a use; never blocks.
  bool contains(const oci::Digest& digest) const;
  // The size of a held blob; not a use; never blocks.
  std::optional<uint64_t> size_of(const oci::Digest& digest) const;

  // A writer for a blob of `size` bytes: resumes the partial blob that was left behind if its size
  // is the same, else starts one. Reserves the space first and evicts for it, idle partial blobs
  // included; blobs of its own account alone if that is at its quota. A blob of this digest that is
  // held is removed first, to be replaced. At most one writer per digest at a time (CHECK). Blocks;
  // IoError.
  std::expected<std::unique_ptr<BlobWriter>, NoWriter> write(const oci::Digest& digest,
                                                             uint64_t size,
                                                             std::string_view account = "");
  // The size of a partial blob left by a former process or an abandoned writer, so that a fill can
  // resume without asking. Never blocks.
  std::optional<uint64_t> partial_size(const oci::Digest& digest) const;

  // Removes the blob; readers keep their bytes, and the space counts until the last one is gone.
  // False if it was not held. Blocks; IoError.
  bool remove(const oci::Digest& digest);

  // A pinned blob is never evicted. It stays pinned until this says otherwise or it is removed,
  // over restarts, and when its copy is bad and fetched again. False if it is not held. Blocks;
  // IoError.
  bool pin(const oci::Digest& digest, bool pinned);

  StoreStats stats() const;

 private:
  friend class BlobWriter;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cache

// BlobStore: the edge's verified blobs on local disk, within a byte budget and a floor of free
// disk.
//
// A blob is in the store only after its digest was verified; what is being fetched is a partial
// blob (BlobWriter). The index (LMDB) says what is held, so a start reads the index, never the
// tree; if the index is lost, the store serves at once and looks for files by their names, while a
// thread of its own reads the tree. Small blobs live in the index itself.
//
// A disk that fails is no reason to fail a request. Reading: a copy that cannot be read is dropped,
// and so becomes a miss. Writing:
//   ENOSPC, EDQUOT   there is no writer (no_space); in mid-fill, the fill's store fails
//   EROFS            the same (read_only), and no write is tried for kReadOnlyPause; hits go on
//   EIO, EMFILE, …   the same (storage_failed), for this blob alone
// In each case nothing unverified or incomplete is held, and the space is given back.
//
// Thread-safe. Functions marked "blocks" do file or LMDB work: run them on the pool.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "oci/digest.h"

namespace cache {

inline constexpr uint64_t kBlockSize = 1 << 20;
// How large a blob may be to be kept in the index, if nobody says otherwise. Up to here a commit
// costs a fourth of a file's and the first read as much; beyond, checking the bytes makes that
// dearer.
inline constexpr uint64_t kInlineLimit = 8 << 10;
inline constexpr std::chrono::seconds kReadOnlyPause(30);

class BlobWriter;

// A verified blob, open. While anyone holds it the blob is not evicted, and its bytes stay readable
// whatever happens to the name.
class Blob {
 public:
  virtual ~Blob() = default;
  // Its file; -1 if it is kept in the index: then these are its bytes.
  virtual int fd() const = 0;
  virtual std::optional<std::string_view> bytes() const = 0;
  // A descriptor of the caller's own that its bytes can be read from. IoError.
  virtual base::UniqueFd duplicate() const = 0;
  virtual uint64_t size() const = 0;
  virtual int64_t stored_at() const = 0;  // Unix seconds
};

// The wall clock, in Unix microseconds. It may jump.
using WallClock = std::function<int64_t()>;
int64_t unix_microseconds();

// Another one after every start of the machine (the kernel's boot_id; of the process, where there
// is none). What was written since then is as it was written, however a process ended: only a power
// cut, or the kernel's own end, loses writes.
std::string boot_id();

// What is known of a held blob, for administrators.
struct BlobInfo {
  uint64_t size = 0;
  std::string account;    // whoever write() said
  int64_t stored_at = 0;  // Unix seconds
  int64_t last_used = 0;  // Unix seconds
  bool pinned = false;
};

// What may change while the store serves; BlobStoreOptions says what each is.
struct StoreLimits {
  uint64_t capacity = 0;
  uint64_t min_free = 0;
  std::map<std::string, uint64_t> quotas;
  uint64_t scrub_rate = 0;
};

struct BlobStoreOptions {
  std::filesystem::path root;
  uint64_t capacity = 0;      // bytes, of blobs and partial blobs together
  uint64_t min_free = 0;      // bytes to leave free on the file system, whoever fills it
  uint64_t inline_limit = 0;  // blobs of at most so many bytes are kept in the index
  size_t hot_blobs = 4096;    // blobs kept open
  // Blobs that take fewer bytes than this are small, and this share of the capacity is kept for
  // them: large ones do not push them out of it.
  uint64_t small_blob = 1 << 20;
  double small_share = 0.05;
  // The most bytes of the blobs of an account, by its name. An account is whoever write() says,
  // such as an upstream; one that is not here has no bound but the capacity.
  std::map<std::string, uint64_t> quotas;
  // Bytes a second of held blobs that are read again, to drop those that the disk has spoilt; 0:
  // none.
  uint64_t scrub_rate = 0;
  // For tests.
  WallClock wall_clock = unix_microseconds;
  std::string boot = boot_id();
  base::Clock* clock = &base::Clock::system();
  std::function<uint64_t()> free_bytes;  // of the file system; by default the system's word

  StoreLimits limits() const { return {capacity, min_free, quotas, scrub_rate}; }
};

struct AccountStats {
  uint64_t blobs = 0;
  uint64_t bytes = 0;             // of blobs and partial blobs
  std::optional<uint64_t> quota;  // nullopt: no bound but the capacity
};

// Bytes are what files take on disk: each is rounded up to 4 KiB. The first four never exceed the
// capacity together, but after it was made smaller, or while the tree is read, until it has
// evicted: then they do not grow. What the index takes to name the blobs, some 200 bytes each and 1
// MiB, is beside the capacity; the floor of free disk sees it.
struct StoreStats {
  uint64_t blobs = 0;
  uint64_t blob_bytes = 0;
  uint64_t reserved_bytes = 0;  // of partial blobs: their whole size, and their maps
  uint64_t unlinked_bytes = 0;  // of blobs that are gone but still being read or removed
  uint64_t index_bytes = 0;     // that small blobs have left in the index, for others to use
  uint64_t capacity = 0;
  uint64_t evicted = 0;
  uint64_t bad_copies = 0;      // that were dropped since the start, because they were not readable
  uint64_t scrubbed_bytes = 0;  // that were read again since the start
  std::map<std::string, AccountStats> accounts;  // by name; "" is who has none
  // Zeros if nothing was ever held of it.
  AccountStats account(const std::string& name) const;
  bool complete = true;    // false while the tree is read because the index was lost
  bool read_only = false;  // nothing can be stored; what is held is served
};

// Why there is no writer. The log says more.
enum class NoWriter {
  no_space,   // not beside what is in use or pinned, or not above the floor, or the disk is full
  read_only,  // the disk has taken no writes a short while ago
  storage_failed,  // the disk, or the process has no descriptors left
};

class BlobStore {
 public:
  // Opens the directory, which no other process may use (IoError), creates what is missing, reads
  // the index, reconciles incoming/: partial blobs with a sound map are kept for a resume and their
  // space is reserved, anything else there is removed. A blob file that the rename put in place but
  // the index does not know yet (crash in between) is found through its partial map and indexed. An
  // index that cannot be read is rebuilt from the tree. What is there beyond the limits is served
  // until it goes, as after set_limits(). Blocks; IoError.
  explicit BlobStore(const BlobStoreOptions& options);
  // REQUIRES: no writer is left. Open blobs may outlive the store. Blocks.
  ~BlobStore();

  // A blob that is already open; never blocks. Counts as a use.
  std::shared_ptr<const Blob> hot(const oci::Digest& digest);
  // The blob, or nullptr if it is not held. Counts as a use. A file that is gone, cannot be read or
  // has another size than the index says is dropped with a log line. Blocks; IoError.
  std::shared_ptr<const Blob> open(const oci::Digest& digest);
  // False if open() would not find it; not a use; never blocks.
  bool may_hold(const oci::Digest& digest) const;
  // True if known to be held; not a use; never blocks.
  bool contains(const oci::Digest& digest) const;
  // The size of a held blob; not a use; never blocks.
  std::optional<uint64_t> size_of(const oci::Digest& digest) const;

  // All of it; not a use; never blocks.
  std::optional<BlobInfo> info(const oci::Digest& digest) const;
  // Every blob of an account, and every partial blob that nobody writes, in no order; never blocks.
  std::vector<oci::Digest> blobs_of(std::string_view account) const;
  // The bytes of a blob that has no more than `most` of them; not a use. nullopt if it is not held,
  // or larger. Blocks; IoError.
  std::optional<std::string> read(const oci::Digest& digest, uint64_t most) const;

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

  // Removes the blob, or the partial blob if nobody writes it; readers keep their bytes, and the
  // space counts until the last one is gone. False if there was neither. Blocks; IoError.
  bool remove(const oci::Digest& digest);
  // The same of several, which is faster than one after the other. Those that were there are
  // counted.
  struct Removed {
    uint64_t blobs = 0;
    uint64_t bytes = 0;  // their sizes; a partial blob counts as if it were whole
  };
  Removed remove(std::span<const oci::Digest> digests);
  // A reader could not read this open blob: its disk fails, or its file is too short. The copy is
  // dropped, so that the next request fetches another; if the disk refuses that too, at least
  // this process holds it no longer. Blocks; throws nothing.
  void report_bad(const oci::Digest& digest, const Blob& blob);
  // Other limits, from now on. What tighter ones do not allow goes within seconds, as far as it is
  // not in use: a portion at a time, while the store serves on; until then no writer makes it more.
  // Never blocks.
  void set_limits(const StoreLimits& limits);
  // Evicts what the limits do not allow, as far as it is not in use. The store does so by itself
  // every second. Blocks; throws nothing.
  void keep_limits();

  // Reads some of what is held again, as much as the scrub rate allows for the time since it was
  // called last, and of a second at most; drops what is not as it was. The store does so by itself
  // every second. Blocks; throws nothing.
  void scrub();

  // A pinned blob is never evicted. It stays pinned until this says otherwise or it is removed,
  // over restarts, and when its copy is bad and fetched again. False if it is not held. Blocks;
  // IoError.
  bool pin(const oci::Digest& digest, bool pinned);

  StoreStats stats() const;

 private:
  friend class BlobWriter;
  friend class Scrub;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cache

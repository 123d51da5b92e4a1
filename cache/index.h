// Index: what the cache holds, on disk (LMDB), so that a start need not read the tree.
//
// Also keeps tombstones: a blob's removal from the index leaves its digest there in the same
// transaction, until its file is known to be gone for good. A crash in between costs no rescan: the
// next start unlinks what the tombstones name.
//
// The content of small blobs is kept here too, in place of a file. Room that removed content leaves
// behind is used again by what comes later; the index's file never shrinks.
//
// Every change is durable when apply() returns. One process at a time (the caller's lock);
// thread-safe within it. All functions block: pool threads only. Failure is IoError.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cache/eviction.h"
#include "oci/digest.h"

namespace cache {

struct IndexRecord {
  uint64_t size;
  int64_t stored_at;  // Unix seconds
  int64_t last_used;  // Unix microseconds
  Place place = {};   // in the order of eviction
  std::string account;
  bool inside = false;  // its content is in the index, not in a file
  bool operator==(const IndexRecord&) const = default;
};

class Index {
 public:
  struct Content {
    std::unordered_map<oci::Digest, IndexRecord> blobs;
    std::vector<oci::Digest> tombstones;
    bool complete = true;  // false: blobs of the tree that it does not name may be there
  };

  // What changes when a blob is used, or eviction passes it over.
  struct Use {
    int64_t last_used;
    Place place;
  };

  // Made in this order.
  struct Changes {
    std::vector<oci::Digest> forget;                       // tombstones
    std::vector<std::pair<oci::Digest, Use>> use;          // of blobs that are held; not `pinned`
    std::vector<std::pair<oci::Digest, bool>> pin;         // of blobs that are held
    std::vector<std::pair<oci::Digest, IndexRecord>> put;  // with a file: clears the tombstone
    std::vector<std::pair<oci::Digest, std::string>> content;  // of blobs that are put inside
    std::vector<oci::Digest> remove;  // leaves a tombstone, if it had a file
    bool complete = false;            // nothing of the tree is missing now
    bool empty() const {
      return forget.empty() && use.empty() && pin.empty() && put.empty() && content.empty() &&
             remove.empty() && !complete;
    }
  };

  struct Opened;
  // Opens the index in the directory and reads all of it. Why not, if there is none or it cannot be
  // trusted (it can be created anew then); IoError if the disk or its permissions are the problem.
  static std::expected<Opened, std::string> open(const std::filesystem::path& directory);
  // Replaces whatever is in the directory by an index of these blobs. A crash in the middle leaves
  // one that open() refuses.
  static std::unique_ptr<Index> create(const std::filesystem::path& directory,
                                       const Content& content);
  ~Index();

  // One transaction, shared with the other threads that call at the same time: a sync to disk is
  // what costs. IoError: nothing of it was stored.
  void apply(const Changes& changes);

  // The content of a blob that is inside; nullopt if it is not there.
  std::optional<std::string> content(const oci::Digest& digest) const;
  // The blob that comes next in the order of the digests; the first one after nullopt. nullopt if
  // there is none.
  std::optional<std::pair<oci::Digest, IndexRecord>> after(
      const std::optional<oci::Digest>& digest) const;
  // What content of this size takes of the index's file, at most.
  static uint64_t on_disk(uint64_t size);
  // The bytes of pages of the file as it is now: of those with content of blobs, and of those that
  // nothing uses. Never waits for the disk.
  struct Pages {
    uint64_t content = 0;
    uint64_t free = 0;
  };
  Pages pages() const;

 private:
  struct Environment;
  struct Pending {
    const Changes& changes;
    bool done = false;
    std::optional<base::IoError> error = std::nullopt;
  };

  explicit Index(std::unique_ptr<Environment> environment);
  std::optional<base::IoError> write(const std::vector<Pending*>& batch);

  std::unique_ptr<Environment> environment_;
  mutable std::mutex mutex_;
  Pages pages_;  // guarded by mutex_
  std::condition_variable written_;
  std::vector<Pending*> queue_;  // guarded by mutex_
  bool writing_ = false;         // guarded by mutex_; a thread is in write()
};

struct Index::Opened {
  std::unique_ptr<Index> index;
  Content content;
};

}  // namespace cache

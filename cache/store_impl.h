// What BlobStore and BlobWriter share: the directory, its index and what it holds. Internal.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "cache/blob_store.h"
#include "cache/holdings.h"
#include "cache/index.h"
#include "cache/layout.h"
#include "cache/space.h"

namespace cache {

// All functions block.
struct BlobStore::Impl {
  explicit Impl(const BlobStoreOptions& options);
  ~Impl();

  // One durable transaction. Uses and tombstones that are no longer needed ride along.
  // IoError.
  void apply(Index::Changes changes);
  // Stores the uses; a failure is logged, because they are worth no more.
  void save_uses();
  // Space for a file of this size, evicting for it; nullopt if that cannot be. IoError. REQUIRES:
  // room_mutex.
  std::optional<Space::Reservation> make_room(uint64_t size);
  // Evicts blobs of the writer's account so that the file fits its quota; false if that cannot be.
  // IoError. REQUIRES: room_mutex.
  bool fit_quota(const oci::Digest& digest, uint64_t size);
  // Removes what was evicted. IoError. REQUIRES: room_mutex.
  void evict(std::vector<Holdings::Taken> victims);
  // The space of the writer that begins: that of the partial blob it resumes, or new. IoError.
  std::optional<Space::Reservation> space_for_write(const oci::Digest& digest, uint64_t size);
  // Removes what was taken out of the holdings from the index and the disk. IoError: nothing was
  // removed, all is held again. REQUIRES: room_mutex.
  void remove_files(std::vector<Holdings::Taken> taken);
  // Removes the files of a partial blob and then gives its space back.
  void discard_partial(const oci::Digest& digest, Space::Reservation space);
  // The pinned blob's file is not what the index says.
  void drop(const oci::Digest& digest, const Holdings::Pin& pin);

  const Layout layout;
  const base::UniqueFd lock;  // on Layout::lock(), for as long as the store lives
  Holdings holdings;
  std::unique_ptr<Index> index;

  // Held while blobs are removed, from the holdings to the disk, and while a write begins. So the
  // new file of a digest never meets the removal of the old one: what is being written is not held,
  // and what is not held is not removed.
  std::mutex room_mutex;

  std::mutex leftover_mutex;
  std::vector<oci::Digest> forget;      // guarded by leftover_mutex; their files are gone
  std::vector<Holdings::Taken> undead;  // guarded by leftover_mutex; their files could not be
                                        // removed, so they take space until the next start
};

}  // namespace cache

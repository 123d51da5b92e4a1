// What BlobStore and BlobWriter share: the directory, its index and what it holds. Internal.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/unique_fd.h"
#include "cache/blob_store.h"
#include "cache/holdings.h"
#include "cache/index.h"
#include "cache/layout.h"
#include "cache/scrub.h"
#include "cache/space.h"

namespace cache {

// All functions block.
struct BlobStore::Impl {
  explicit Impl(const BlobStoreOptions& options);
  ~Impl();

  // One durable transaction. Uses and tombstones that are no longer needed ride along.
  // IoError.
  void apply(Index::Changes changes);
  // Lets the holdings know what the index's file has.
  void set_index();
  // Stores uses, in so many transactions; a failure is logged, because they are worth no more.
  void save_uses(size_t portions);

  // Room for so many bytes on disk, evicting for it; nullopt if that cannot be. IoError. REQUIRES:
  // room_mutex.
  std::optional<Space::Reservation> make_room(uint64_t bytes, Room room);
  // Removes what was evicted. False if that is nullopt, because there was too little to evict.
  // IoError. REQUIRES: room_mutex.
  bool evict(std::optional<std::vector<Holdings::Taken>> victims);
  // How many bytes the file system lacks to have so many left when all that is reserved is there.
  // IoError.
  uint64_t below(uint64_t its_floor) const;
  // How much of such a floor is there.
  uint64_t left_of(uint64_t its_floor) const;
  // See BlobStore. Evicts in portions; `go_on` is called after each, while nobody is kept waiting,
  // and says whether to. IoError.
  void keep_limits(const std::function<bool()>& go_on);
  void keep_limits_or_log(const std::function<bool()>& go_on);

  // The space of the writer that begins: that of the partial blob it resumes, or new. IoError.
  std::optional<Space::Reservation> space_for_write(const oci::Digest& digest, uint64_t size);
  std::expected<std::unique_ptr<BlobWriter>, NoWriter> open_writer(const oci::Digest& digest,
                                                                   uint64_t size);
  // The blob is small enough to be kept in the index.
  bool fits_inside(uint64_t size) const {
    return options.inline_limit > 0 && size <= options.inline_limit;
  }

  // Begins to open a blob, one that the index does not know yet too. IoError.
  std::optional<Holdings::Pin> pin(const oci::Digest& digest);
  // Opens the pinned blob; nullptr if its copy is bad, and then it is dropped. IoError.
  std::shared_ptr<const Blob> open_pinned(const oci::Digest& digest, const Holdings::Pin& pin);
  base::UniqueFd open_blob_file(const oci::Digest& digest);
  // Holds a blob of the tree that the index does not know, if there is one, in this queue. IoError.
  void adopt(const oci::Digest& digest, Queue queue);
  void adopt_all(const std::vector<oci::Digest>& digests);
  // The blob's copy is bad: it is not held any more, whatever the disk says to its removal.
  // REQUIRES: room_mutex.
  void drop(std::optional<Holdings::Taken> taken, const std::string& why);

  // Removes what was taken out of the holdings from the index and the disk. IoError: nothing was
  // removed, all is held again. REQUIRES: room_mutex.
  void remove_files(std::vector<Holdings::Taken> taken);
  // Syncs the directories of files that were removed, so that their tombstones can go. Until then a
  // start removes them again, should a power cut bring them back: so nobody waits for this.
  void sync_removed(const std::stop_token& stop);
  // A removed blob has a file again, and a tombstone that it gets from now on is another one.
  void file_is_back(const oci::Digest& digest);
  // Removes the files of a partial blob. Gives its space, unless they could not be removed: who
  // lets go of that gives it back.
  std::optional<Space::Reservation> discard_partial(const oci::Digest& digest,
                                                    Space::Reservation space);

  // What follows from a failed write, for the writers that come and for this one.
  NoWriter write_failed(const base::IoError& error);
  void write_succeeded();
  bool is_read_only() const;

  // Until the store is destroyed: reads the tree if the index is incomplete, and keeps the limits.
  void keep(const std::stop_token& stop);
  void tidy(const std::stop_token& stop);
  void scrub_or_log(const std::stop_token& stop);
  void read_tree(const std::stop_token& stop);
  // What was found is held by now; into the index, too.
  void index_found(const std::vector<oci::Digest>& found);
  // False if the store is being destroyed.
  bool pause(const std::stop_token& stop, std::chrono::milliseconds time);

  const BlobStoreOptions options;  // but for its limits, which change
  std::atomic<uint64_t> min_free;
  const Layout layout;
  const base::UniqueFd lock;  // on Layout::lock(), for as long as the store lives
  Holdings holdings;
  std::unique_ptr<Index> index;
  std::atomic<bool> complete = true;  // the index names all blobs of the tree

  // Held while blobs are removed, from the holdings to the disk, and while a write begins. So the
  // new file of a digest never meets the removal of the old one: what is being written is not held,
  // and what is not held is not removed.
  std::mutex room_mutex;
  // Guarded by room_mutex: what writers leave free of the disk. When there is less than min_free at
  // the start, or that is raised, this follows as there is more.
  uint64_t floor = 0;
  // Guarded by room_mutex: the index could not be written because the disk was full, but their
  // files are gone. Writing one again takes it out.
  std::vector<oci::Digest> unindexed;

  mutable std::mutex leftover_mutex;
  // Tombstones, guarded by leftover_mutex: of files that are unlinked, of those whose directories
  // are being synced, and of those that are gone for good.
  std::unordered_set<oci::Digest> unsynced;
  std::unordered_set<oci::Digest> syncing;
  std::vector<oci::Digest> forget;
  std::vector<Holdings::Taken> undead;  // guarded by leftover_mutex; their files could not be
                                        // removed, so they take space until the next start
  std::optional<base::TimePoint> read_only_since;  // guarded by leftover_mutex

  std::atomic<uint64_t> bad_copies = 0;  // dropped
  std::atomic<uint64_t> scrub_rate;
  std::mutex scrub_mutex;
  Scrub scrub;  // guarded by scrub_mutex

  std::mutex pause_mutex;
  std::condition_variable_any paused;
  std::jthread keeper;  // last: ends before what it uses
};

}  // namespace cache

// Holdings: what the store holds, in memory: every blob, the open ones among them, idle partial
// blobs, who is writing, the space each takes, the order of eviction and what is whose.
//
// What is held and what is being written counts as its account's; a blob that was removed and is
// still read counts for the capacity alone.
//
// All of it changes under one mutex and none of it does I/O (but for closing files), so any thread
// may call, loops included.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cache/blob_store.h"
#include "cache/eviction.h"
#include "cache/index.h"
#include "cache/open_blobs.h"
#include "cache/space.h"
#include "oci/digest.h"

namespace cache {

// A partial blob that nobody writes.
struct Partial {
  uint64_t size;
  int64_t last_used;  // Unix microseconds
  Space::Reservation space;
  std::string account;
  Place place = {};
};

// Whose blobs may take how much; without a quota no bound but the capacity.
using Quotas = std::map<std::string, uint64_t>;

struct HoldingsOptions {
  uint64_t capacity = 0;
  size_t hot_blobs = 0;
  EvictionOptions eviction;
  Quotas quotas;
  WallClock wall_clock = unix_microseconds;
};

class Holdings {
  struct Account {
    uint64_t quota;
    Eviction::Account number;
    uint64_t blobs = 0;
    uint64_t bytes = 0;
  };
  struct Entry;
  struct IdlePartial;
  struct Writing {
    uint64_t bytes;  // reserved
    std::map<std::string, Account, std::less<>>::value_type& account;
  };

 public:
  // Something taken out of the holdings, whose files are to be removed. Its space stays reserved
  // until it is destroyed and the last reader is gone.
  struct Taken {
    oci::Digest digest;
    std::shared_ptr<Entry> blob;     // either a blob
    std::optional<Partial> partial;  // or a partial blob
    bool inside() const;             // a blob that is kept in the index
    uint64_t file_bytes() const;     // of its space, unless that is in the index
  };

  // While it lives, the blob is being opened: in use.
  class Pin {
   public:
    Pin(Pin&&) noexcept = default;
    Pin& operator=(Pin&&) = delete;
    ~Pin();
    uint64_t size() const;
    bool inside() const;  // the content is in the index

   private:
    friend class Holdings;
    Pin(Holdings* holdings, std::shared_ptr<Entry> entry)
        : holdings_(holdings), entry_(std::move(entry)) {}
    Holdings* holdings_;
    std::shared_ptr<Entry> entry_;  // null once moved from
  };

  explicit Holdings(const HoldingsOptions& options);
  ~Holdings();

  // What is above them then stays until it is taken.
  void set_limits(uint64_t capacity, const Quotas& quotas);

  // At start: what is on disk, whether capacity and quotas allow it or not. In the order of the
  // places.
  void load(const oci::Digest& digest, const IndexRecord& record);
  void load_partial(const oci::Digest& digest, uint64_t size, uint64_t allocated, int64_t last_used,
                    const std::string& account = "");
  // Later: a file that the tree has and the index has not. False if the blob is held or written.
  bool load_found(const oci::Digest& digest, const IndexRecord& record);

  // ---- blobs

  // The blob, if it is open already. A use.
  std::shared_ptr<const Blob> open_blob(const oci::Digest& digest);
  // Begins to open a blob; nullopt if it is not held.
  std::optional<Pin> pin(const oci::Digest& digest);
  // Ends it. A use. Gives the Blob of another thread if that was faster.
  std::shared_ptr<const Blob> opened(const Pin& pin, OpenContent content);
  // A blob that has just been committed, by the writer that holds the digest.
  std::shared_ptr<const Blob> admit(const oci::Digest& digest, const IndexRecord& record,
                                    Space::Reservation space, OpenContent content);
  // Closes the hot blobs that nobody reads, because descriptors have run out.
  void cool();

  bool contains(const oci::Digest& digest) const;
  std::optional<IndexRecord> record_of(const oci::Digest& digest) const;

  std::optional<BlobInfo> info(const oci::Digest& digest) const;
  std::vector<oci::Digest> blobs_of(std::string_view account) const;

  // ---- partial blobs and writers

  // REQUIRES: nobody is writing it.
  void begin_write(const oci::Digest& digest, std::string_view account);
  // How much space the writer has, and takes of its account.
  void set_reserved(const oci::Digest& digest, uint64_t bytes);
  void end_write(const oci::Digest& digest);
  std::string account_of_writer(const oci::Digest& digest) const;
  // The idle partial blob, with its space: it goes to the writer, or goes altogether.
  std::optional<Partial> take_partial(const oci::Digest& digest);
  // The other way, and ends the write.
  void put_aside(const oci::Digest& digest, uint64_t size, Space::Reservation space);
  std::optional<uint64_t> partial_size(const oci::Digest& digest) const;

  // ---- space

  uint64_t limit() { return space_.limit(); }
  std::optional<Space::Reservation> try_reserve(uint64_t bytes, Room room, uint64_t limit) {
    return space_.try_reserve(bytes, room, limit);
  }
  uint64_t above_capacity() const { return above_capacity(space_.usage()); }
  uint64_t unallocated() const { return space_.usage().unallocated(); }
  uint64_t capacity() const { return space_.capacity(); }
  // What to evict so that a blob has room that takes `newcomer` bytes. `lacking` says how many
  // bytes it lacks, of what is used now and of what would be left. Beside what is in use there may
  // be less: then nullopt, and nothing is taken.
  using Lacking = std::function<uint64_t(const Space::Usage& now, const Space::Usage& left)>;
  std::optional<std::vector<Taken>> take_victims(const Lacking& lacking, uint64_t newcomer);
  // The same, so that the files of so many bytes go. 0: for no newcomer.
  std::optional<std::vector<Taken>> take_victims(uint64_t bytes, uint64_t newcomer = 0);
  // Of the account of the writer alone: what to evict so that so many bytes more fit its quota. If
  // it is above its quota, no more than they take goes for them.
  std::optional<std::vector<Taken>> take_own_victims(const oci::Digest& writing, uint64_t bytes);
  // What to evict so that the capacity is kept and the files of so many bytes go, or what there is
  // beside what is in use, but no more than kMostAtOnce: to be called again, until there is
  // nothing.
  std::vector<Taken> take_some(uint64_t bytes);
  // The same, so that no account is above its quota.
  std::vector<Taken> take_above_quotas();
  // The mutex is not held longer than that takes.
  static constexpr size_t kMostAtOnce = 256;
  // One blob, used or not; with `pin`, only if it is the one that was pinned.
  std::optional<Taken> take(const oci::Digest& digest, const Pin* pin = nullptr);
  // The blob, if this is what it was opened as.
  std::optional<Taken> take_opened(const oci::Digest& digest, const Blob& blob);
  // Undoes a take: the files could not be removed from the index.
  void put_back(std::vector<Taken> taken);
  void count_evicted(uint64_t blobs);
  // What the index's file has.
  void set_index(const Index::Pages& pages) { space_.set_index(pages.content, pages.free); }
  // Pinned blobs are never victims. A pin outlives the copy: if that was taken because it was bad
  // or is replaced, the next one is to be pinned.
  void set_pinned(const oci::Digest& digest, bool pinned);
  bool is_to_be_pinned(const oci::Digest& digest) const;

  // ---- uses and places, to be stored

  // The wall clock as uses and places are stamped with it: it never goes back, and no two are
  // alike.
  int64_t stamp();
  // How many there are.
  size_t uses() const;
  // No more than kUsesAtOnce: a transaction does not get longer, whatever eviction has passed over.
  std::vector<std::pair<oci::Digest, Index::Use>> take_uses();
  static constexpr size_t kUsesAtOnce = 1024;

  StoreStats stats() const;

 private:
  std::map<std::string, Account, std::less<>>::value_type& account_named(std::string_view name);
  uint64_t above_capacity(const Space::Usage& usage) const {
    return usage.missing(0, Room::file, space_.capacity());
  }
  // Gives the next to go; `inside_too`: room in the index helps.
  using PopVictim = std::function<Eviction::Item*(bool inside_too)>;
  // Victims until nothing is lacking, there are no more, or `most`; true in the first case.
  bool choose(const Lacking& lacking, const PopVictim& pop_victim, size_t most,
              std::vector<Eviction::Item*>& chosen) const;
  std::optional<std::vector<Taken>> take_chosen(const Lacking& lacking,
                                                const PopVictim& pop_victim);
  Eviction::InUse in_use() const;
  Account& end_writing(const oci::Digest& digest);
  int64_t next_use();
  void touch(Entry& entry);
  void load_locked(const oci::Digest& digest, const IndexRecord& record);
  void add(std::shared_ptr<Entry> entry);
  IdlePartial& add_partial(const oci::Digest& digest, Partial partial);
  Taken take_out(const oci::Digest& digest);

  const WallClock wall_clock_;
  Space space_;

  mutable std::mutex mutex_;  // guards all that follows
  std::unordered_map<oci::Digest, std::shared_ptr<Entry>> blobs_;
  std::unordered_map<oci::Digest, IdlePartial> partials_;
  std::unordered_map<oci::Digest, Writing> writing_;
  std::map<std::string, Account, std::less<>> accounts_;  // by name; never fewer
  Eviction eviction_;                                     // of blobs_ and partials_
  std::unordered_set<oci::Digest> lost_pins_;             // of pinned blobs that were taken
  OpenBlobs open_;                                        // of blobs_
  int64_t last_use_ = 0;                                  // Unix microseconds; only goes forward
  uint64_t blob_bytes_ = 0;
  uint64_t evicted_ = 0;
};

}  // namespace cache

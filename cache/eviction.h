// Eviction: which blob goes when room is needed. S3-FIFO (Yang and others, SOSP '23), segregated by
// size: blobs below a threshold are "small" and have queues of their own, and a share of the bytes
// that large ones do not take from them.
//
// In each size class a new blob is on probation; if it is used it moves to the main queue, if not
// it is the first to go. One that comes back soon after it went (the ghost queue remembers it) goes
// to the main queue at once. In the main queue a blob that was used goes to the end instead of out.
// So blobs that are asked for once push out each other, and a use costs one increment.
//
// What goes for a file has to be files: small blobs that are kept in the index have queues beside
// the other small ones, and the older of the two goes first if either will do.
//
// Every blob belongs to an account, and the blobs of each account are in the same order as among
// all, so that an account at its quota can give up its own. Holds blobs and idle partial blobs. Not
// thread-safe; no I/O. No function takes more than constant time, but for passing over blobs that
// are in use; over those that were used, no more than kMostPassed for a victim.
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "cache/ghost_queue.h"
#include "cache/space.h"
#include "oci/digest.h"

namespace cache {

struct EvictionOptions {
  // Blobs that take fewer bytes than this are small; 0: none is.
  uint64_t small_blob = 1 << 20;
  // Of the capacity and of each quota: as much of small blobs is not given up for large ones.
  double small_share = 0.05;
  // Of the bytes of a size class: how much is on probation before the main queue gives up any.
  double probation_share = 0.1;
};

enum class Queue : uint8_t { probation, main };

// Where a blob stands: what a restart needs to go on in the same order.
struct Place {
  static constexpr uint8_t kMostUses = 3;

  Queue queue = Queue::probation;
  uint8_t uses = 0;  // that still count; at most kMostUses
  bool pinned = false;
  // When it came to the end of its queue. Unix microseconds, but always going forward: two are
  // never the same.
  int64_t since = 0;
  bool operator==(const Place&) const = default;
};

// A blob of which nothing is known but when it came, which is place.since.
struct Unplaced {
  uint64_t bytes;
  Place* place;
};
// Says in which queues they would be: what is as new as to fit on probation is there, what is older
// has been used. It costs half a point of hits beside what was known (bench/eviction).
void guess_queues(std::vector<Unplaced> blobs,
                  double probation_share = EvictionOptions{}.probation_share);

class Eviction {
 public:
  using Account = size_t;  // a number that add_account() gave

  // A blob as eviction sees it. The item, the digest and the place are the caller's, who keeps them
  // where they are from insert() to remove(); the place is written by Eviction.
  class Item {
   public:
    // `bytes` is what removing the blob frees, in `room`.
    Item(const oci::Digest& digest, uint64_t bytes, Account account, Place& place,
         Room room = Room::file)
        : digest_(digest), bytes_(bytes), account_(account), room_(room), place_(place) {}
    const oci::Digest& digest() const { return digest_; }
    uint64_t bytes() const { return bytes_; }
    Account account() const { return account_; }
    Room room() const { return room_; }
    const Place& place() const { return place_; }

   private:
    friend class Eviction;
    using Hook = boost::intrusive::list_member_hook<>;
    const oci::Digest& digest_;
    const uint64_t bytes_;
    const Account account_;
    const Room room_;
    Place& place_;
    Hook among_all_;
    Hook in_account_;
    Hook in_changed_;
  };
  using InUse = std::function<bool(const Item&)>;

  // The capacity is in bytes.
  Eviction(uint64_t capacity, const EvictionOptions& options);

  // The quota is in bytes.
  Account add_account(uint64_t quota);
  // Other ones. Nothing goes because of that by itself.
  void set_capacity(uint64_t bytes) { all_.most = bytes; }
  void set_quota(Account account, uint64_t bytes) { accounts_[account].most = bytes; }

  // A blob that is new, now: Unix microseconds.
  void insert(Item& item, int64_t now);
  // A blob that an earlier run left. It comes to the end of the queue that its place says: those of
  // one run, in the order of Place::since, stand as they stood.
  void restore(Item& item);
  // Forgets the blob.
  void remove(Item& item);
  // A use of it.
  void touch(Item& item);
  // A pinned blob is never a victim.
  void set_pinned(Item& item, bool pinned);

  // So many that were used are passed over; then the one of them that was used the least goes, as
  // if there were no more.
  static constexpr size_t kMostPassed = 128;
  // Takes out the next to go, passing over those in use; nullptr if there is none. `newcomer`: the
  // bytes of the blob that is to have the room. It may be that there is nothing but small blobs
  // within their share, which go for a small one (0, too: for no blob), and not for a large one.
  // `inside_too`: room in the index helps; else only files go, and only they count for the share.
  Item* pop_victim(uint64_t newcomer, const InUse& in_use, bool inside_too = true);
  // The same, of this account's alone.
  Item* pop_victim_of(Account account, uint64_t newcomer, const InUse& in_use);
  // The victim stays after all, and is the next to go. Several: the last one first.
  void put_back(Item& item);

  // Those whose places are not what they were when this was last asked, used ones included; no more
  // than `most`, the others the next time.
  std::vector<Item*> take_changed(size_t most);
  size_t changed() const { return changed_.size(); }

 private:
  enum SizeClass : uint8_t { kInside, kSmall, kLarge, kSizeClasses };  // kInside are small, too

  // The queues of one size class.
  template <typename List>
  struct Segment {
    std::array<List, 2> queues;
    std::array<uint64_t, 2> bytes = {};
    List& queue(Queue name) { return queues[static_cast<size_t>(name)]; }
    uint64_t& bytes_in(Queue name) { return bytes[static_cast<size_t>(name)]; }
    uint64_t all_bytes() const { return bytes[0] + bytes[1]; }
  };
  // All blobs in order, or those of an account. The next to go are in front.
  template <Item::Hook Item::* hook>
  struct Order {
    using List =
        boost::intrusive::list<Item, boost::intrusive::member_hook<Item, Item::Hook, hook>>;
    uint64_t most;  // bytes: the capacity, or a quota
    std::array<Segment<List>, kSizeClasses> segments = {};

    void link(Item& item, SizeClass size_class, bool in_front);
    void unlink(Item& item, SizeClass size_class);
  };

  bool is_small(uint64_t bytes) const { return bytes < options_.small_blob; }
  SizeClass class_of(const Item& item) const;
  void link(Item& item, bool in_front);
  void unlink(Item& item);
  void move_to_end(Item& item, Queue queue);
  void mark_changed(Item& item);
  template <typename Order>
  Item* pop(Order& order, uint64_t newcomer, const InUse& in_use, bool inside_too);
  template <typename Segment>
  Item* find(Segment& segment, const InUse& in_use);
  template <typename List>
  Item* find_on_probation(List& queue, const InUse& in_use);
  template <typename List>
  Item* find_in_main(List& queue, const InUse& in_use);

  // How much of small blobs is kept, of so many bytes.
  uint64_t small_reserve(uint64_t bytes) const;

  const EvictionOptions options_;
  Order<&Item::among_all_> all_;
  std::deque<Order<&Item::in_account_>> accounts_;
  std::array<GhostQueue, kSizeClasses> ghosts_;
  boost::intrusive::list<Item, boost::intrusive::member_hook<Item, Item::Hook, &Item::in_changed_>>
      changed_;
  int64_t last_since_ = 0;
};

}  // namespace cache

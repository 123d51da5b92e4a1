// Space: the byte budget of the cache directory. Every file in it (blob, partial blob, unlinked
// file that someone still reads) is covered by a Reservation for as long as it takes room, so what
// is reserved is an upper bound of what is on disk. Thread-safe; does no I/O.
//
// The content of small blobs is in the index's file, which never shrinks: what one of them gives
// back only others of them can have. So what counts for the index is what is reserved in it, or
// what its file has for them, whichever is more; a small blob that goes makes no room for a file,
// but for what was reserved in the index beyond what its file has.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace cache {

// Where a blob takes room: a file of its own, or the index's.
enum class Room : uint8_t { file, index };

class Space {
 public:
  // What is used; in bytes. A copy of it tells what would be if something were given back.
  struct Usage {
    uint64_t files = 0;           // reserved
    uint64_t inside = 0;          // reserved in the index
    uint64_t files_to_come = 0;   // of what is reserved, what the file system does not count yet
    uint64_t inside_to_come = 0;  // the same of `inside`
    uint64_t index_content = 0;   // pages of the index's file with content of blobs
    uint64_t index_free = 0;      // pages of it that nothing uses

    // What counts of the index. Of what its file has, 1 MiB is beside the capacity.
    uint64_t index() const;
    uint64_t used() const { return files + index(); }
    // What files, and the index's, will grow by when all that is reserved is there. All but 1 MiB
    // of the index's free pages are used again.
    uint64_t unallocated() const;
    // What is beyond `limit` with so many bytes more.
    uint64_t missing(uint64_t bytes, Room room, uint64_t limit) const;
    // As if a blob of so many bytes were gone.
    void remove(uint64_t bytes, Room room);
  };

 private:
  struct Sums {
    std::mutex mutex;
    Usage usage;  // guarded by mutex
  };

 public:
  // Room for one blob, given back on destruction. May outlive the Space. Not thread-safe itself.
  class Reservation {
   public:
    Reservation(Reservation&& other) noexcept = default;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation() { release(); }
    uint64_t bytes() const { return bytes_; }
    // The file system has set so many more of these bytes aside for the file, and so counts them
    // as used itself.
    void allocated(uint64_t bytes);
    // Gives back all but so many bytes.
    void shrink(uint64_t bytes);

   private:
    friend class Space;
    Reservation(std::shared_ptr<Sums> sums, uint64_t bytes, Room room, uint64_t to_come);
    void give_back(uint64_t bytes, uint64_t to_come);
    void release();

    std::shared_ptr<Sums> sums_;  // null once moved from
    uint64_t bytes_;
    uint64_t to_come_;
    Room room_;
  };

  explicit Space(uint64_t capacity);

  // What a file of this size takes on disk: whole blocks of 4 KiB.
  static uint64_t on_disk(uint64_t file_size);

  // More may be reserved than a smaller one allows.
  void set_capacity(uint64_t bytes);
  // How much may be used: the capacity, or, as long as it was more when that was lowered or the
  // rest was found and ever since, what is used. So what one gives up another may have, and it
  // never grows.
  uint64_t limit();

  // Room for so many bytes on disk, or nullopt if more than `limit` would be used with them.
  std::optional<Reservation> try_reserve(uint64_t bytes, Room room, uint64_t limit);
  std::optional<Reservation> try_reserve(uint64_t bytes) {
    return try_reserve(bytes, Room::file, capacity_);
  }
  // Covers what an earlier run left; with it the limit may be above the capacity. `to_come`: of its
  // bytes, what is not there yet.
  Reservation cover_found(uint64_t bytes, Room room = Room::file, uint64_t to_come = 0);
  // What the index's file has. The limit is not raised if that is more than there is room for.
  void set_index(uint64_t content, uint64_t free);

  uint64_t capacity() const { return capacity_; }
  Usage usage() const;
  uint64_t used() const { return usage().used(); }

 private:
  std::atomic<uint64_t> capacity_;
  const std::shared_ptr<Sums> sums_;
  uint64_t limit_;  // guarded by sums_->mutex
};

}  // namespace cache

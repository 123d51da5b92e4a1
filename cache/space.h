// Space: the byte budget of the cache directory. Every file in it (blob, partial blob, unlinked
// file that someone still reads) is covered by a Reservation for as long as it takes room, so what
// is reserved is an upper bound of what is on disk. Thread-safe; does no I/O.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace cache {

class Space {
  struct Sums {
    std::atomic<uint64_t> used = 0;
    std::atomic<uint64_t> unallocated = 0;
  };

 public:
  // Room for one file, given back on destruction. May outlive the Space. Not thread-safe itself.
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
    Reservation(std::shared_ptr<Sums> sums, uint64_t bytes, uint64_t unallocated)
        : sums_(std::move(sums)), bytes_(bytes), unallocated_(unallocated) {}
    void release();

    std::shared_ptr<Sums> sums_;  // null once moved from
    uint64_t bytes_;
    uint64_t unallocated_;
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
  std::optional<Reservation> try_reserve(uint64_t bytes, uint64_t limit);
  std::optional<Reservation> try_reserve(uint64_t bytes) { return try_reserve(bytes, capacity_); }
  // Covers a file that an earlier run left; with it the limit may be above the capacity.
  // `unallocated` of its bytes are still to come.
  Reservation cover_found(uint64_t bytes, uint64_t unallocated = 0);
  // Covers what grows whether there is room for it or not. The limit is not raised for it.
  Reservation cover(uint64_t bytes, uint64_t unallocated = 0);
  // Bytes to free before try_reserve() can succeed; 0 if it can now.
  uint64_t missing(uint64_t bytes, uint64_t limit) const;
  uint64_t missing(uint64_t bytes) const { return missing(bytes, capacity_); }

  uint64_t capacity() const { return capacity_; }
  uint64_t used() const { return sums_->used; }
  // Of what is reserved, what the file system does not count as used yet.
  uint64_t unallocated() const { return sums_->unallocated; }

 private:
  std::atomic<uint64_t> capacity_;
  std::mutex mutex_;
  uint64_t limit_;  // guarded by mutex_
  std::shared_ptr<Sums> sums_;
};

}  // namespace cache

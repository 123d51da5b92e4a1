// Space: the byte budget of the cache directory. Every file in it (blob, partial blob, unlinked
// file that someone still reads) is covered by a Reservation for as long as it takes room, so what
// is reserved is an upper bound of what is on disk. Thread-safe; does no I/O.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace cache {

class Space {
 public:
  // Room for one file, given back on destruction. May outlive the Space.
  class Reservation {
   public:
    Reservation(Reservation&& other) noexcept = default;
    Reservation& operator=(Reservation&& other) noexcept;
    ~Reservation() { release(); }
    uint64_t bytes() const { return bytes_; }

   private:
    friend class Space;
    Reservation(std::shared_ptr<std::atomic<uint64_t>> used, uint64_t bytes)
        : used_(std::move(used)), bytes_(bytes) {}
    void release();

    std::shared_ptr<std::atomic<uint64_t>> used_;  // null once moved from
    uint64_t bytes_;
  };

  explicit Space(uint64_t capacity);

  // What a file of this size takes on disk: whole blocks of 4 KiB.
  static uint64_t on_disk(uint64_t file_size);

  // Room for a file of this size, or nullopt if the capacity does not allow it.
  std::optional<Reservation> try_reserve(uint64_t file_size);
  // Covers a file that is on disk already, found at start; may exceed the capacity.
  Reservation cover(uint64_t file_size);
  // Bytes to free before try_reserve(file_size) can succeed; 0 if it can now.
  uint64_t missing(uint64_t file_size) const;

  uint64_t capacity() const { return capacity_; }
  uint64_t used() const { return *used_; }

 private:
  const uint64_t capacity_;
  std::shared_ptr<std::atomic<uint64_t>> used_;
};

}  // namespace cache

#include "cache/space.h"

#include <algorithm>
#include <limits>

namespace cache {
namespace {
constexpr uint64_t kDiskBlock = 4096;
}  // namespace

Space::Reservation& Space::Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    sums_ = std::move(other.sums_);
    bytes_ = other.bytes_;
    unallocated_ = other.unallocated_;
  }
  return *this;
}

void Space::Reservation::allocated(uint64_t bytes) {
  bytes = std::min(bytes, unallocated_);
  unallocated_ -= bytes;
  sums_->unallocated -= bytes;
}

void Space::Reservation::shrink(uint64_t bytes) {
  if (bytes >= bytes_) return;
  if (unallocated_ > bytes) allocated(unallocated_ - bytes);
  sums_->used -= bytes_ - bytes;
  bytes_ = bytes;
}

void Space::Reservation::release() {
  if (sums_) {
    allocated(unallocated_);
    sums_->used -= bytes_;
  }
  sums_.reset();
}

Space::Space(uint64_t capacity)
    : capacity_(capacity), limit_(capacity), sums_(std::make_shared<Sums>()) {}

void Space::set_capacity(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
  limit_ = std::max(limit_, bytes);
}

uint64_t Space::limit() {
  const std::lock_guard lock(mutex_);
  limit_ = std::max(capacity_.load(), std::min(limit_, used()));
  return limit_;
}

uint64_t Space::on_disk(uint64_t file_size) {
  if (file_size > std::numeric_limits<uint64_t>::max() - kDiskBlock) return file_size;
  return (file_size + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
}

std::optional<Space::Reservation> Space::try_reserve(uint64_t bytes, uint64_t limit) {
  uint64_t used = sums_->used;
  do {
    if (used > limit || bytes > limit - used) return std::nullopt;
  } while (!sums_->used.compare_exchange_weak(used, used + bytes));
  sums_->unallocated += bytes;
  return Reservation(sums_, bytes, bytes);
}

Space::Reservation Space::cover_found(uint64_t bytes, uint64_t unallocated) {
  const std::lock_guard lock(mutex_);
  Reservation reservation = cover(bytes, unallocated);
  limit_ = std::max(limit_, used());
  return reservation;
}

Space::Reservation Space::cover(uint64_t bytes, uint64_t unallocated) {
  sums_->used += bytes;
  sums_->unallocated += unallocated;
  return {sums_, bytes, unallocated};
}

uint64_t Space::missing(uint64_t bytes, uint64_t limit) const {
  const uint64_t used = sums_->used;
  if (used > limit) return bytes + (used - limit);
  return bytes - std::min(bytes, limit - used);
}

}  // namespace cache

#include "cache/space.h"

#include <limits>

namespace cache {
namespace {
constexpr uint64_t kDiskBlock = 4096;
}  // namespace

Space::Reservation& Space::Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    used_ = std::move(other.used_);
    bytes_ = other.bytes_;
  }
  return *this;
}

void Space::Reservation::release() {
  if (used_) *used_ -= bytes_;
  used_.reset();
}

Space::Space(uint64_t capacity)
    : capacity_(capacity), used_(std::make_shared<std::atomic<uint64_t>>(0)) {}

uint64_t Space::on_disk(uint64_t file_size) {
  if (file_size > std::numeric_limits<uint64_t>::max() - kDiskBlock) return file_size;
  return (file_size + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
}

std::optional<Space::Reservation> Space::try_reserve(uint64_t file_size) {
  const uint64_t bytes = on_disk(file_size);
  uint64_t used = *used_;
  do {
    if (used > capacity_ || bytes > capacity_ - used) return std::nullopt;
  } while (!used_->compare_exchange_weak(used, used + bytes));
  return Reservation(used_, bytes);
}

Space::Reservation Space::cover(uint64_t file_size) {
  const uint64_t bytes = on_disk(file_size);
  *used_ += bytes;
  return Reservation(used_, bytes);
}

uint64_t Space::missing(uint64_t file_size) const {
  const uint64_t bytes = on_disk(file_size);
  const uint64_t used = *used_;
  if (used <= capacity_ && bytes <= capacity_ - used) return 0;
  if (used <= capacity_) return bytes - (capacity_ - used);
  return bytes + (used - capacity_);
}

}  // namespace cache

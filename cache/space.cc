#include "cache/space.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace cache {
namespace {

constexpr uint64_t kDiskBlock = 4096;
// Free pages of the index's file that come and go with transactions, are too new to be used again,
// or too scattered.
constexpr uint64_t kIndexBeside = 1 << 20;

void take_off(uint64_t& from, uint64_t bytes) { from -= std::min(from, bytes); }

}  // namespace

uint64_t Space::Usage::index() const {
  uint64_t file = index_content + index_free;
  take_off(file, kIndexBeside);
  return std::max(inside, file);
}

uint64_t Space::Usage::unallocated() const {
  uint64_t reusable = index_free;
  take_off(reusable, kIndexBeside);
  return files_to_come + inside_to_come - std::min(inside_to_come, reusable);
}

uint64_t Space::Usage::missing(uint64_t bytes, Room room, uint64_t limit) const {
  const uint64_t before = used();
  uint64_t more = bytes;
  if (room == Room::index) {
    Usage with = *this;
    with.inside += bytes;
    more = with.used() - before;
    // It takes what the index's file has for it anyway.
    if (more == 0) return 0;
  }
  if (before > limit) return more + (before - limit);
  return more - std::min(more, limit - before);
}

void Space::Usage::remove(uint64_t bytes, Room room) {
  if (room == Room::file) {
    take_off(files, bytes);
    return;
  }
  take_off(inside, bytes);
  const uint64_t pages = std::min(index_content, bytes);
  index_content -= pages;
  index_free += pages;
}

Space::Reservation::Reservation(std::shared_ptr<Sums> sums, uint64_t bytes, Room room,
                                uint64_t to_come)
    : sums_(std::move(sums)), bytes_(bytes), to_come_(to_come), room_(room) {}

Space::Reservation& Space::Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    sums_ = std::move(other.sums_);
    bytes_ = other.bytes_;
    to_come_ = other.to_come_;
    room_ = other.room_;
  }
  return *this;
}

void Space::Reservation::give_back(uint64_t bytes, uint64_t to_come) {
  const std::lock_guard lock(sums_->mutex);
  Usage& usage = sums_->usage;
  (room_ == Room::file ? usage.files : usage.inside) -= bytes;
  (room_ == Room::file ? usage.files_to_come : usage.inside_to_come) -= to_come;
  bytes_ -= bytes;
  to_come_ -= to_come;
}

void Space::Reservation::allocated(uint64_t bytes) { give_back(0, std::min(bytes, to_come_)); }

void Space::Reservation::shrink(uint64_t bytes) {
  if (bytes < bytes_) give_back(bytes_ - bytes, to_come_ - std::min(to_come_, bytes));
}

void Space::Reservation::release() {
  if (sums_) give_back(bytes_, to_come_);
  sums_.reset();
}

Space::Space(uint64_t capacity)
    : capacity_(capacity), sums_(std::make_shared<Sums>()), limit_(capacity) {}

void Space::set_capacity(uint64_t bytes) {
  const std::lock_guard lock(sums_->mutex);
  capacity_ = bytes;
  limit_ = std::max(limit_, bytes);
}

uint64_t Space::limit() {
  const std::lock_guard lock(sums_->mutex);
  limit_ = std::max(capacity_.load(), std::min(limit_, sums_->usage.used()));
  return limit_;
}

uint64_t Space::on_disk(uint64_t file_size) {
  if (file_size > std::numeric_limits<uint64_t>::max() - kDiskBlock) return file_size;
  return (file_size + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
}

std::optional<Space::Reservation> Space::try_reserve(uint64_t bytes, Room room, uint64_t limit) {
  const std::lock_guard lock(sums_->mutex);
  Usage& usage = sums_->usage;
  if (usage.missing(bytes, room, limit) > 0) return std::nullopt;
  (room == Room::file ? usage.files : usage.inside) += bytes;
  (room == Room::file ? usage.files_to_come : usage.inside_to_come) += bytes;
  return Reservation(sums_, bytes, room, bytes);
}

Space::Reservation Space::cover_found(uint64_t bytes, Room room, uint64_t to_come) {
  const std::lock_guard lock(sums_->mutex);
  Usage& usage = sums_->usage;
  (room == Room::file ? usage.files : usage.inside) += bytes;
  (room == Room::file ? usage.files_to_come : usage.inside_to_come) += to_come;
  limit_ = std::max(limit_, usage.used());
  return {sums_, bytes, room, to_come};
}

void Space::set_index(uint64_t content, uint64_t free) {
  const std::lock_guard lock(sums_->mutex);
  sums_->usage.index_content = content;
  sums_->usage.index_free = free;
}

Space::Usage Space::usage() const {
  const std::lock_guard lock(sums_->mutex);
  return sums_->usage;
}

}  // namespace cache

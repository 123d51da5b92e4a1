#include "bench/cache_model.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace bench {
namespace {

oci::Digest digest_of(uint32_t number) {
  std::array<char, 32> bytes{};
  const uint64_t spread = (uint64_t{number} + 1) * 0x9e3779b97f4a7c15;
  std::memcpy(bytes.data(), &number, sizeof(number));
  std::memcpy(bytes.data() + sizeof(number), &spread, sizeof(spread));
  return *oci::Digest::from_bytes(oci::Algorithm::sha256, {bytes.data(), bytes.size()});
}

uint32_t number_of(const oci::Digest& digest) {
  uint32_t number = 0;
  std::memcpy(&number, digest.bytes().data(), sizeof(number));
  return number;
}

bool nothing_is_in_use(const cache::Eviction::Item&) { return false; }

}  // namespace

EvictionModel::Held::Held(uint32_t its_number, uint64_t bytes, cache::Eviction::Account account,
                          const cache::Place& its_place, int64_t its_arrival)
    : number(its_number),
      arrival(its_arrival),
      digest(digest_of(number)),
      place(its_place),
      item(digest, bytes, account, place) {}

EvictionModel::EvictionModel(const Trace& trace, uint64_t capacity,
                             const cache::EvictionOptions& options)
    : CacheModel(trace, capacity),
      options_(options),
      held_(trace.sizes.size()),
      eviction_(std::make_unique<cache::Eviction>(capacity, options)),
      account_(eviction_->add_account(capacity)) {}

bool EvictionModel::request(size_t position) {
  const uint32_t number = trace_.requests[position];
  if (held_[number]) {
    eviction_->touch(held_[number]->item);
    return true;
  }
  const uint64_t size = trace_.sizes[number];
  if (size > capacity_) return false;
  while (used_ + size > capacity_) {
    cache::Eviction::Item* victim = eviction_->pop_victim(size, nothing_is_in_use);
    if (victim == nullptr) return false;
    eviction_->remove(*victim);
    used_ -= victim->bytes();
    held_[number_of(victim->digest())].reset();
  }
  used_ += size;
  const auto now = static_cast<int64_t>(position);
  held_[number] = std::make_unique<Held>(number, size, account_, cache::Place{}, now);
  eviction_->insert(held_[number]->item, now);
  return false;
}

void EvictionModel::restart(Restart kind) {
  std::vector<std::unique_ptr<Held>> before = std::exchange(held_, {});
  held_.resize(before.size());
  std::erase(before, nullptr);
  std::ranges::sort(before, {}, [&](const auto& held) {
    return kind == Restart::saved ? held->place.since : held->arrival;
  });
  for (const auto& held : before) eviction_->remove(held->item);
  eviction_ = std::make_unique<cache::Eviction>(capacity_, options_);
  account_ = eviction_->add_account(capacity_);
  used_ = 0;
  if (kind == Restart::empty) return;
  if (kind == Restart::arrival) {
    std::vector<cache::Unplaced> unplaced;
    for (const auto& held : before) {
      held->place = {.since = held->arrival};
      unplaced.push_back({held->item.bytes(), &held->place});
    }
    cache::guess_queues(std::move(unplaced), options_.probation_share);
  }
  for (const auto& held : before) {
    used_ += held->item.bytes();
    held_[held->number] = std::make_unique<Held>(held->number, held->item.bytes(), account_,
                                                 held->place, held->arrival);
    eviction_->restore(held_[held->number]->item);
  }
}

LruModel::LruModel(const Trace& trace, uint64_t capacity)
    : CacheModel(trace, capacity), links_(trace.sizes.size() + 1) {
  const auto ends = static_cast<uint32_t>(links_.size() - 1);
  links_.back() = {ends, ends, false};
}

void LruModel::link(uint32_t blob) {
  const auto ends = static_cast<uint32_t>(links_.size() - 1);
  links_[blob] = {links_[ends].older, ends, true};
  links_[links_[ends].older].newer = blob;
  links_[ends].older = blob;
}

void LruModel::unlink(uint32_t blob) {
  links_[links_[blob].older].newer = links_[blob].newer;
  links_[links_[blob].newer].older = links_[blob].older;
  links_[blob].held = false;
}

bool LruModel::request(size_t position) {
  const uint32_t blob = trace_.requests[position];
  const uint64_t size = trace_.sizes[blob];
  const bool hit = links_[blob].held;
  if (hit) {
    unlink(blob);
  } else {
    if (size > capacity_) return false;
    for (; used_ + size > capacity_;
         used_ -= trace_.sizes[links_.back().newer], unlink(links_.back().newer)) {
    }
    used_ += size;
  }
  link(blob);
  return hit;
}

BeladyModel::BeladyModel(const Trace& trace, uint64_t capacity)
    : CacheModel(trace, capacity),
      next_use_(trace.requests.size()),
      held_until_(trace.sizes.size()) {
  std::vector<size_t> next(trace.sizes.size(), std::numeric_limits<size_t>::max());
  for (size_t i = trace.requests.size(); i-- > 0;) {
    next_use_[i] = std::exchange(next[trace.requests[i]], i);
  }
}

bool BeladyModel::request(size_t position) {
  const uint32_t blob = trace_.requests[position];
  const uint64_t size = trace_.sizes[blob];
  const size_t next = next_use_[position];
  const bool hit = held_until_[blob] == position && position > 0;
  if (hit) {
    held_.erase({position, blob});
    used_ -= size;
    held_until_[blob] = 0;
  }
  if (size > capacity_ || next == std::numeric_limits<size_t>::max()) return hit;
  held_.emplace(next, blob);
  held_until_[blob] = next;
  used_ += size;
  while (used_ > capacity_) {
    const auto latest = std::prev(held_.end());
    used_ -= trace_.sizes[latest->second];
    held_until_[latest->second] = 0;
    held_.erase(latest);
  }
  return hit;
}

}  // namespace bench

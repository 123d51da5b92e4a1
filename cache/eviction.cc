#include "cache/eviction.h"

#include <glog/logging.h>

#include <algorithm>

namespace cache {

void guess_queues(std::vector<Unplaced> blobs, double probation_share) {
  std::ranges::sort(blobs, std::greater(), [](const Unplaced& blob) { return blob.place->since; });
  double all = 0;
  for (const Unplaced& blob : blobs) all += static_cast<double>(blob.bytes);
  double newer = 0;
  for (const Unplaced& blob : blobs) {
    newer += static_cast<double>(blob.bytes);
    blob.place->queue = newer <= probation_share * all ? Queue::probation : Queue::main;
  }
}

template <Eviction::Item::Hook Eviction::Item::* hook>
void Eviction::Order<hook>::link(Item& item, SizeClass size_class, bool in_front) {
  auto& segment = segments[size_class];
  List& queue = segment.queue(item.place_.queue);
  queue.insert(in_front ? queue.begin() : queue.end(), item);
  segment.bytes_in(item.place_.queue) += item.bytes_;
}

template <Eviction::Item::Hook Eviction::Item::* hook>
void Eviction::Order<hook>::unlink(Item& item, SizeClass size_class) {
  auto& segment = segments[size_class];
  List& queue = segment.queue(item.place_.queue);
  queue.erase(queue.iterator_to(item));
  segment.bytes_in(item.place_.queue) -= item.bytes_;
}

Eviction::Eviction(uint64_t capacity, const EvictionOptions& options)
    : options_(options), all_{.most = capacity} {}

Eviction::SizeClass Eviction::class_of(const Item& item) const {
  if (item.room_ == Room::index) return kInside;
  return is_small(item.bytes_) ? kSmall : kLarge;
}

uint64_t Eviction::small_reserve(uint64_t bytes) const {
  return static_cast<uint64_t>(options_.small_share * static_cast<double>(bytes));
}

Eviction::Account Eviction::add_account(uint64_t quota) {
  accounts_.push_back({.most = quota});
  return accounts_.size() - 1;
}

void Eviction::insert(Item& item, int64_t now) {
  const bool was_here = ghosts_[class_of(item)].take(item.digest_);
  item.place_.queue = was_here ? Queue::main : Queue::probation;
  item.place_.since = last_since_ = std::max(now, last_since_ + 1);
  if (was_here) mark_changed(item);
  if (!item.place_.pinned) link(item, false);
}

void Eviction::restore(Item& item) {
  last_since_ = std::max(last_since_, item.place_.since);
  if (!item.place_.pinned) link(item, false);
}

void Eviction::remove(Item& item) {
  if (item.among_all_.is_linked()) unlink(item);
  if (item.in_changed_.is_linked()) changed_.erase(changed_.iterator_to(item));
}

void Eviction::touch(Item& item) {
  item.place_.uses = std::min<uint8_t>(item.place_.uses + 1, Place::kMostUses);
  mark_changed(item);
}

void Eviction::set_pinned(Item& item, bool pinned) {
  if (item.place_.pinned == pinned) return;
  item.place_.pinned = pinned;
  mark_changed(item);
  if (pinned) {
    unlink(item);
  } else {
    item.place_.since = ++last_since_;
    link(item, false);
  }
}

Eviction::Item* Eviction::pop_victim(uint64_t newcomer, const InUse& in_use, bool inside_too) {
  return pop(all_, newcomer, in_use, inside_too);
}

Eviction::Item* Eviction::pop_victim_of(Account account, uint64_t newcomer, const InUse& in_use) {
  return pop(accounts_[account], newcomer, in_use, true);
}

void Eviction::put_back(Item& item) {
  ghosts_[class_of(item)].take(item.digest_);
  if (!item.place_.pinned) link(item, true);
}

std::vector<Eviction::Item*> Eviction::take_changed(size_t most) {
  std::vector<Item*> items;
  items.reserve(std::min(most, changed_.size()));
  while (items.size() < most && !changed_.empty()) {
    items.push_back(&changed_.front());
    changed_.pop_front();
  }
  return items;
}

// ---- the choice -------------------------------------------------------------------------------

template <typename Order>
Eviction::Item* Eviction::pop(Order& order, uint64_t newcomer, const InUse& in_use,
                              bool inside_too) {
  auto& inside = order.segments[kInside];
  auto& small = order.segments[kSmall];
  auto& large = order.segments[kLarge];
  const uint64_t small_bytes = small.all_bytes() + (inside_too ? inside.all_bytes() : 0);
  const auto find_small = [&]() -> Item* {
    Item* in_file = find(small, in_use);
    Item* in_index = inside_too ? find(inside, in_use) : nullptr;
    if (in_file == nullptr || in_index == nullptr) return in_file ? in_file : in_index;
    return in_file->place_.since < in_index->place_.since ? in_file : in_index;
  };
  Item* victim = nullptr;
  if (small_bytes > small_reserve(std::min(order.most, all_.most))) {
    victim = find_small();
    if (victim == nullptr) victim = find(large, in_use);
  } else {
    victim = find(large, in_use);
    // What is kept for the small gives way to the small alone.
    if (victim == nullptr && is_small(newcomer)) victim = find_small();
  }
  if (victim == nullptr) return nullptr;
  unlink(*victim);
  if (victim->place_.queue == Queue::probation) {
    const SizeClass size_class = class_of(*victim);
    auto& segment = all_.segments[size_class];
    // As many ghosts as there are blobs.
    ghosts_[size_class].add(victim->digest_, segment.queue(Queue::probation).size() +
                                                 segment.queue(Queue::main).size());
  }
  return victim;
}

template <typename Segment>
Eviction::Item* Eviction::find(Segment& segment, const InUse& in_use) {
  auto& probation = segment.queue(Queue::probation);
  auto& main = segment.queue(Queue::main);
  const bool full = static_cast<double>(segment.bytes_in(Queue::probation)) >
                    options_.probation_share * static_cast<double>(segment.all_bytes());
  Item* victim = full ? nullptr : find_in_main(main, in_use);
  if (victim == nullptr) victim = find_on_probation(probation, in_use);
  // That may have put some there.
  if (victim == nullptr) victim = find_in_main(main, in_use);
  return victim;
}

template <typename List>
Eviction::Item* Eviction::find_on_probation(List& queue, const InUse& in_use) {
  size_t passed = 0;
  for (size_t left = queue.size(); left > 0 && passed < kMostPassed; --left) {
    Item& item = queue.front();
    if (in_use(item)) {
      move_to_end(item, Queue::probation);
    } else if (item.place_.uses > 0) {
      ++passed;
      item.place_.uses = 0;
      move_to_end(item, Queue::main);
    } else {
      return &item;
    }
  }
  return nullptr;
}

template <typename List>
Eviction::Item* Eviction::find_in_main(List& queue, const InUse& in_use) {
  Item* least = nullptr;
  size_t passed = 0;
  for (size_t in_use_before = 0; in_use_before < queue.size() && passed < kMostPassed;) {
    Item& item = queue.front();
    if (in_use(item)) {
      ++in_use_before;
    } else if (item.place_.uses > 0) {
      --item.place_.uses;
      ++passed;
      in_use_before = 0;
      if (least == nullptr || item.place_.uses < least->place_.uses) least = &item;
    } else {
      return &item;
    }
    move_to_end(item, Queue::main);
  }
  return least;
}

// ---- queues -----------------------------------------------------------------------------------

void Eviction::link(Item& item, bool in_front) {
  const SizeClass size_class = class_of(item);
  all_.link(item, size_class, in_front);
  accounts_[item.account_].link(item, size_class, in_front);
}

void Eviction::unlink(Item& item) {
  const SizeClass size_class = class_of(item);
  all_.unlink(item, size_class);
  accounts_[item.account_].unlink(item, size_class);
}

void Eviction::move_to_end(Item& item, Queue queue) {
  unlink(item);
  item.place_.queue = queue;
  item.place_.since = ++last_since_;
  link(item, false);
  mark_changed(item);
}

void Eviction::mark_changed(Item& item) {
  if (!item.in_changed_.is_linked()) changed_.push_back(item);
}

}  // namespace cache

// ShortMemory: what is remembered for a while and then forgotten, in a table of bounded size.
//
// Everything in it is remembered for the same time, so the oldest entry is the first to expire, and
// the first to go when the table is full. Thread-safe.
#pragma once

#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/event_loop.h"

namespace base {

template <typename Value>
class ShortMemory {
 public:
  // A lifetime of 0 remembers nothing.
  ShortMemory(Duration lifetime, size_t most) : lifetime_(lifetime), most_(most) {}

  // From now on, in place of what is remembered under the key.
  void remember(const std::string& key, TimePoint now, Value value = {}) {
    update(key, now, [&](Value& old) { old = std::move(value); });
  }
  // Calls `change` with what is remembered under the key, a new Value if nothing is, and remembers
  // the result from now on.
  template <typename Change>
  void update(const std::string& key, TimePoint now, Change change) {
    if (lifetime_ <= Duration::zero()) return;
    const std::lock_guard lock(mutex_);
    while (!entries_.empty() && entries_.front().until <= now) forget_oldest();
    Value value{};
    if (const auto known = by_key_.find(key); known != by_key_.end()) {
      value = std::move(known->second->value);
      entries_.erase(known->second);
      by_key_.erase(known);
    }
    change(value);
    if (entries_.size() == most_) forget_oldest();
    by_key_[key] = entries_.insert(entries_.end(), {key, std::move(value), now + lifetime_});
  }

  std::optional<Value> find(const std::string& key, TimePoint now) const {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end() || found->second->until <= now) return std::nullopt;
    return found->second->value;
  }
  bool contains(const std::string& key, TimePoint now) const { return find(key, now).has_value(); }

  void forget(const std::string& key) {
    const std::lock_guard lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return;
    entries_.erase(found->second);
    by_key_.erase(found);
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    std::string key;
    Value value;
    TimePoint until;
  };
  using Entries = std::list<Entry>;

  void forget_oldest() {
    by_key_.erase(entries_.front().key);
    entries_.pop_front();
  }

  const Duration lifetime_;
  const size_t most_;
  mutable std::mutex mutex_;
  Entries entries_;  // guarded by mutex_; oldest first
  std::unordered_map<std::string, typename Entries::iterator> by_key_;  // guarded by mutex_
};

}  // namespace base

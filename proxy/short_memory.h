// ShortMemory: what is remembered for a while and then forgotten, in a table of bounded size.
//
// Everything in it is remembered for the same time, so the oldest entry is the first to expire, and
// the first to go when the table is full. Thread-safe.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/event_loop.h"

namespace proxy {

template <typename Value>
class ShortMemory {
 public:
  // A lifetime of 0 remembers nothing.
  ShortMemory(base::Duration lifetime, size_t most) : lifetime_(lifetime), most_(most) {}

  // Calls `change` with what is remembered under the key, a new Value if nothing is, and remembers
  // the result from now on.
  template <typename Change>
  void update(const std::string& key, base::TimePoint now, Change change) {
    if (lifetime_ <= base::Duration::zero()) return;
    const std::lock_guard lock(mutex_);
    forget_expired(now);
    Value value = take(key).value_or(Value());
    change(value);
    if (entries_.size() == most_) forget_oldest();
    entries_[key] = {std::move(value), now + lifetime_};
    order_.emplace_back(key, now + lifetime_);
  }

  std::optional<Value> find(const std::string& key, base::TimePoint now) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.until <= now) return std::nullopt;
    return found->second.value;
  }

  void forget(const std::string& key) {
    const std::lock_guard lock(mutex_);
    take(key);
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

 private:
  struct Entry {
    Value value;
    base::TimePoint until;
  };

  std::optional<Value> take(const std::string& key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return std::nullopt;
    std::optional<Value> value = std::move(found->second.value);
    std::erase_if(order_, [&](const auto& each) {
      return each.second == found->second.until && each.first == key;
    });
    entries_.erase(found);
    return value;
  }

  void forget_oldest() {
    entries_.erase(order_.front().first);
    order_.pop_front();
  }
  void forget_expired(base::TimePoint now) {
    while (!order_.empty() && order_.front().second <= now) forget_oldest();
  }

  const base::Duration lifetime_;
  const size_t most_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;             // guarded by mutex_
  std::deque<std::pair<std::string, base::TimePoint>> order_;  // guarded by mutex_; oldest first
};

}  // namespace proxy

// Recent: remembers keys for a limited time, and no more of them than its capacity: the oldest go
// first. Not thread-safe.
#pragma once

#include <deque>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"

namespace origin::auth {

class Recent {
 public:
  Recent(size_t capacity, base::Duration lifetime) : capacity_(capacity), lifetime_(lifetime) {}

  void remember(const std::string& key, base::TimePoint now);
  bool contains(const std::string& key, base::TimePoint now) const;
  size_t size() const { return entries_.size(); }

 private:
  const size_t capacity_;
  const base::Duration lifetime_;
  std::unordered_map<std::string, base::TimePoint> entries_;  // until when
  std::deque<std::string> order_;                             // the oldest first; each once
};

}  // namespace origin::auth

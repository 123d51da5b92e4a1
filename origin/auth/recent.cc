#include "origin/auth/recent.h"

namespace origin::auth {

void Recent::remember(const std::string& key, base::TimePoint now) {
  const auto [entry, added] = entries_.insert_or_assign(key, now + lifetime_);
  if (!added) return;
  order_.push_back(key);
  if (order_.size() <= capacity_) return;
  entries_.erase(order_.front());
  order_.pop_front();
}

bool Recent::contains(const std::string& key, base::TimePoint now) const {
  const auto entry = entries_.find(key);
  return entry != entries_.end() && now < entry->second;
}

}  // namespace origin::auth

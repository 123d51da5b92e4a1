#include "proxy/tokens.h"

#include <chrono>

namespace proxy {
namespace {

// One for each repository that is read within a token's lifetime.
constexpr size_t kMost = 10000;
// So long nobody asks again after a failure: those who waited for the same token share it.
constexpr base::Duration kFailureTime = std::chrono::seconds(1);

}  // namespace

std::string Tokens::find(const std::string& key, base::TimePoint now) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || found->second.until <= now) return "";
  return found->second.token;
}

Tokens::State Tokens::look(const std::string& key, const std::string& refused,
                           base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  make_room(now);
  Entry& entry = entries_[key];
  if (entry.asking) return Wait();
  if (entry.until > now && entry.failure) return *entry.failure;
  if (entry.until > now && !entry.token.empty() && entry.token != refused) return entry.token;
  entry = {};
  entry.asking = true;
  return Ask();
}

void Tokens::put(const std::string& key, std::string token, base::TimePoint until) {
  {
    const std::lock_guard lock(mutex_);
    entries_[key] = {false, std::move(token), std::nullopt, until};
  }
  changed_.notify();
}

void Tokens::fail(const std::string& key, Ending why, base::TimePoint now) {
  {
    const std::lock_guard lock(mutex_);
    entries_[key] = {false, "", std::move(why), now + kFailureTime};
  }
  changed_.notify();
}

void Tokens::make_room(base::TimePoint now) {
  if (entries_.size() < kMost) return;
  std::erase_if(entries_, [now](const auto& each) {
    return !each.second.asking && each.second.until <= now;
  });
  if (entries_.size() < kMost) return;
  // All are in use: they are asked for again when they are needed.
  std::erase_if(entries_, [](const auto& each) { return !each.second.asking; });
}

}  // namespace proxy

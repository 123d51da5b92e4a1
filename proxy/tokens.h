// Tokens: the bearer tokens that an upstream's URLs have been opened with, for all loops. For one
// URL and scope one token is asked for at a time, however many requests need it.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/event_loop.h"
#include "base/signal.h"
#include "proxy/outcome.h"

namespace proxy {

// Thread-safe.
class Tokens {
 public:
  // What a request does that needs a token.
  struct Wait {};  // another is asking for it: wait for changed(), then look again
  struct Ask {};   // ask for it, and then put() or fail(), whatever happens
  // The token, or why it could not be had a moment ago, or one of these.
  using State = std::variant<std::string, Ending, Wait, Ask>;

  // The token if there is one that is good; "" if there is none.
  std::string find(const std::string& key, base::TimePoint now) const;
  // For a request that was answered 401 although it showed `refused` (empty: it showed none).
  State look(const std::string& key, const std::string& refused, base::TimePoint now);
  void put(const std::string& key, std::string token, base::TimePoint until);
  void fail(const std::string& key, Ending why, base::TimePoint now);

  base::Signal& changed() { return changed_; }

 private:
  struct Entry {
    bool asking = false;
    std::string token;  // empty: none
    std::optional<Ending> failure;
    base::TimePoint until;  // when the token, or the failure, is forgotten
  };
  void make_room(base::TimePoint now);

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> entries_;  // guarded by mutex_
  base::Signal changed_;
};

}  // namespace proxy

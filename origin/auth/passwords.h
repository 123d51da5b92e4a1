// Passwords: checks passwords without letting the price of bcrypt fall on this registry.
//
//  - What was right is remembered for a minute, under a keyed hash of user, password and the file's
//    hash, so that a thousand requests cost one bcrypt and a changed password is out at once. Who
//    asks the same at the same time waits for the one computation.
//  - What was wrong slows down its client's address, and nobody else: guesses from many addresses
//    must not lock the user out. A remembered password is never asked to wait. A client that has
//    logged in as a user before is counted for itself, so that others behind its address do not
//    lock it out.
//  - At most kComputations run at once, wherever they come from, and at most kWaiting wait. The
//    turn is that of the best standing, and where too many wait, the last of the worst gives way
//    and is told to come later: guessers who have failed do not keep out who has not. What this
//    leaves: an address that has not failed yet is a stranger, guesser or not. Guesses from very
//    many of them keep out nobody who is known, but a user who comes from a new address meanwhile
//    may be told to come later, with the right password as well.
//
// Thread-safe; lives as long as the registry, over changes of its configuration.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/event_loop.h"
#include "base/short_memory.h"
#include "base/signal.h"
#include "base/task.h"
#include "base/thread_pool.h"
#include "http/credentials.h"
#include "origin/auth/htpasswd.h"
#include "origin/auth/throttle.h"

namespace origin::auth {

enum class PasswordResult { right, wrong, later };

struct PasswordVerdict {
  PasswordResult result;
  base::Duration retry_after{};  // of `later`
};

class Passwords {
 public:
  static constexpr unsigned kComputations = 2;
  static constexpr unsigned kWaiting = 64;
  using Compare = std::function<bool(const std::string& password, const std::string& hash)>;

  // The pool must outlive it. `compare` runs on the pool; `salt` is the throttles'.
  explicit Passwords(base::ThreadPool& pool, base::Clock& clock = base::Clock::system());
  Passwords(base::ThreadPool& pool, base::Clock& clock, Compare compare, uint64_t salt);

  // `client` is the client's address. What compare or the file throws.
  base::Task<PasswordVerdict> check(HtpasswdFile& file, const http::UserPassword& given,
                                    const std::string& client);

  // True the first time within ten minutes that this is to be said of that client.
  bool first_time(const std::string& client, const std::string& what);

 private:
  // Who asks: what is counted against them.
  struct Asker {
    std::string user;
    std::string client;  // the address; of IPv6, the network of 64 bits that a client can choose in
    std::string pair() const { return client + '\n' + user; }
  };
  // What is known of an asker, the best first.
  enum class Standing {
    known,     // has logged in as this user from there, and not failed since
    stranger,  // nothing
    suspect,   // that address has failed lately, or is being computed for
  };
  enum class Turn { waiting, granted, refused };
  // A computation that one caller runs and others may wait for.
  struct Check {
    base::Signal changed;
    bool counted_as_pair = false;  // what begin() charged
    Standing standing;             // these three guarded by mutex_: the best of its askers'
    Turn turn = Turn::waiting;
    std::optional<PasswordResult> result;
  };
  using Checks = std::deque<std::shared_ptr<Check>>;

  std::string fingerprint(const http::UserPassword& given, const std::string& hash) const;
  Standing standing(const Asker& asker, bool known, base::TimePoint now) const;
  base::Duration begin(const std::string& key, const Asker& asker, std::shared_ptr<Check>& check,
                       bool& mine);
  void finish(const std::string& key, const Asker& asker, Check& check, PasswordResult result);
  base::Task<PasswordVerdict> wait_for(std::shared_ptr<Check> check);
  void queue(const std::shared_ptr<Check>& check);
  base::Task<bool> enter(std::shared_ptr<Check> check);
  void leave(const std::shared_ptr<Check>& check);

  base::ThreadPool& pool_;
  base::Clock& clock_;
  const Compare compare_;
  const std::string secret_;  // of fingerprints, random

  base::ShortMemory<std::monostate> right_;  // which every request looks into
  std::mutex mutex_;                         // guards all below
  base::ShortMemory<std::monostate> known_pairs_;
  base::ShortMemory<std::monostate> suspects_;  // clients
  base::ShortMemory<std::monostate> said_;
  Throttle by_client_;
  Throttle by_pair_;
  std::unordered_map<std::string, std::shared_ptr<Check>> running_;
  unsigned computing_ = 0;
  Checks waiting_;  // for their turn, in the order in which they came
};

}  // namespace origin::auth

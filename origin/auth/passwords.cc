#include "origin/auth/passwords.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <exception>

#include "base/error.h"
#include "origin/auth/bcrypt.h"

namespace origin::auth {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Longer ones are nobody's; bcrypt looks at 72 bytes of them.
constexpr size_t kMaxGiven = 1024;
// When to come again if too many are waiting for their turn.
constexpr base::Duration kBusy = seconds(1);

std::string random_secret() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    throw base::IoError(EIO, "RAND_bytes");
  }
  return {bytes.begin(), bytes.end()};
}

std::string network_of(const std::string& address) {
  std::array<char, 16> bytes{};
  if (address.starts_with("::ffff:") || ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) {
    return address;
  }
  return {bytes.data(), 8};
}

}  // namespace

Passwords::Passwords(base::ThreadPool& pool, base::Clock& clock)
    : Passwords(pool, clock, bcrypt_matches) {}

Passwords::Passwords(base::ThreadPool& pool, base::Clock& clock, Compare compare)
    : pool_(pool),
      clock_(clock),
      compare_(std::move(compare)),
      secret_(random_secret()),
      right_(4096, seconds(60)),
      known_pairs_(16384, hours(24)),
      said_(1024, minutes(10)),
      by_client_(20, seconds(5)),
      by_user_(20, seconds(5)),
      by_pair_(20, seconds(5)) {}

std::string Passwords::fingerprint(const http::UserPassword& given, const std::string& hash) const {
  // User and hash hold no line feed, so different parts never make the same text.
  const std::string text = given.user + '\n' + hash + '\n' + given.password;
  std::array<unsigned char, 32> out{};
  unsigned size = 0;
  if (::HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(),
             &size) == nullptr) {
    throw base::IoError(EIO, "HMAC");
  }
  return {out.begin(), out.end()};
}

bool Passwords::remembered(const std::string& key) {
  const std::lock_guard lock(mutex_);
  return right_.contains(key, clock_.now());
}

// Joins the computation that is running, or begins one. Returns how long to wait if neither may be.
base::Duration Passwords::begin(const std::string& key, const Asker& asker,
                                std::shared_ptr<Check>& check, bool& mine) {
  const std::lock_guard lock(mutex_);
  const base::TimePoint now = clock_.now();
  if (const auto running = running_.find(key); running != running_.end()) {
    check = running->second;
    return {};
  }
  // Counted before the result is known, so that a thousand guesses at once are a thousand.
  const bool known = known_pairs_.contains(asker.pair(), now);
  if (known) {
    if (const auto wait = by_pair_.wait(asker.pair(), now); wait > base::Duration::zero())
      return wait;
    by_pair_.charge(asker.pair(), now);
  } else {
    const auto wait = std::max(by_client_.wait(asker.client, now), by_user_.wait(asker.user, now));
    if (wait > base::Duration::zero()) return wait;
    by_client_.charge(asker.client, now);
    by_user_.charge(asker.user, now);
  }
  mine = true;
  check = running_[key] = std::make_shared<Check>();
  check->counted_as_pair = known;
  return {};
}

void Passwords::finish(const std::string& key, const Asker& asker, Check& check,
                       PasswordResult result) {
  {
    const std::lock_guard lock(mutex_);
    running_.erase(key);
    check.result = result;
    if (result != PasswordResult::wrong) {
      if (check.counted_as_pair) {
        by_pair_.refund(asker.pair());
      } else {
        by_client_.refund(asker.client);
        by_user_.refund(asker.user);
      }
    }
    if (result == PasswordResult::right) {
      right_.remember(key, clock_.now());
      known_pairs_.remember(asker.pair(), clock_.now());
    }
  }
  check.changed.notify();
}

base::Task<PasswordVerdict> Passwords::wait_for(std::shared_ptr<Check> check) {
  while (true) {
    const base::Signal::Ticket ticket = check->changed.ticket();
    {
      const std::lock_guard lock(mutex_);
      if (check->result) co_return PasswordVerdict{*check->result, kBusy};
    }
    co_await check->changed.wait(ticket);
  }
}

// Waits for a turn to compute. False, at once, if too many are waiting.
base::Task<bool> Passwords::enter() {
  bool counted = false;
  while (true) {
    const base::Signal::Ticket ticket = freed_.ticket();
    {
      const std::lock_guard lock(mutex_);
      if (computing_ < kComputations) {
        ++computing_;
        if (counted) --waiting_;
        co_return true;
      }
      if (!counted && waiting_ >= kWaiting) co_return false;
      if (!counted) ++waiting_;
      counted = true;
    }
    co_await freed_.wait(ticket);
  }
}

void Passwords::leave() {
  {
    const std::lock_guard lock(mutex_);
    --computing_;
  }
  freed_.notify();
}

base::Task<PasswordVerdict> Passwords::check(HtpasswdFile& file, const http::UserPassword& given,
                                             const std::string& client) {
  if (given.user.size() > kMaxGiven || given.password.size() > kMaxGiven) {
    co_return PasswordVerdict{PasswordResult::wrong};
  }
  if (file.due(clock_.now())) co_await pool_.run([&] { file.refresh(); });
  const std::string hash = file.users()->hash(given.user);
  const std::string key = fingerprint(given, hash);
  if (remembered(key)) co_return PasswordVerdict{PasswordResult::right};

  const Asker asker{given.user, network_of(client)};
  std::shared_ptr<Check> check;
  bool mine = false;
  const base::Duration wait = begin(key, asker, check, mine);
  if (wait > base::Duration::zero()) co_return PasswordVerdict{PasswordResult::later, wait};
  if (!mine) co_return co_await wait_for(check);
  const bool turn = co_await enter();
  std::exception_ptr failure;
  PasswordResult result = PasswordResult::later;
  if (turn) {
    try {
      const bool right = co_await pool_.run([&] { return compare_(given.password, hash); });
      result = right ? PasswordResult::right : PasswordResult::wrong;
    } catch (...) {
      failure = std::current_exception();
    }
    leave();
  }
  finish(key, asker, *check, result);
  if (failure) std::rethrow_exception(failure);
  co_return PasswordVerdict{result, kBusy};
}

bool Passwords::first_time(const std::string& client, const std::string& what) {
  const std::lock_guard lock(mutex_);
  const base::TimePoint now = clock_.now();
  const std::string key = network_of(client) + '\n' + what;
  if (said_.contains(key, now)) return false;
  said_.remember(key, now);
  return true;
}

}  // namespace origin::auth

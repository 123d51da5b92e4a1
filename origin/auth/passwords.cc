#include "origin/auth/passwords.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <exception>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/random.h"
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
    : Passwords(pool, clock, bcrypt_matches, base::random_number()) {}

Passwords::Passwords(base::ThreadPool& pool, base::Clock& clock, Compare compare, uint64_t salt)
    : pool_(pool),
      clock_(clock),
      compare_(std::move(compare)),
      secret_(random_secret()),
      right_(seconds(60), 4096),
      known_pairs_(hours(24), 16384),
      suspects_(minutes(10), 16384),
      said_(minutes(10), 1024),
      by_client_(20, seconds(5), salt),
      by_pair_(20, seconds(5), salt) {}

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

Passwords::Standing Passwords::standing(const Asker& asker, bool known, base::TimePoint now) const {
  if (known) return by_pair_.clear(asker.pair(), now) ? Standing::known : Standing::suspect;
  const bool clear = by_client_.clear(asker.client, now) && !suspects_.contains(asker.client, now);
  return clear ? Standing::stranger : Standing::suspect;
}

// Joins the computation that is running, or begins one. Returns how long to wait if neither may be.
base::Duration Passwords::begin(const std::string& key, const Asker& asker,
                                std::shared_ptr<Check>& check, bool& mine) {
  const std::lock_guard lock(mutex_);
  const base::TimePoint now = clock_.now();
  const bool known = known_pairs_.contains(asker.pair(), now);
  const Standing standing = this->standing(asker, known, now);
  if (const auto running = running_.find(key); running != running_.end()) {
    check = running->second;
    check->standing = std::min(check->standing, standing);
    return {};
  }
  // Counted before the result is known, so that a thousand guesses at once are a thousand.
  Throttle& throttle = known ? by_pair_ : by_client_;
  const std::string counted = known ? asker.pair() : asker.client;
  if (const auto wait = throttle.wait(counted, now); wait > base::Duration::zero()) return wait;
  throttle.charge(counted, now);
  mine = true;
  check = running_[key] = std::make_shared<Check>();
  check->counted_as_pair = known;
  check->standing = standing;
  return {};
}

void Passwords::finish(const std::string& key, const Asker& asker, Check& check,
                       PasswordResult result) {
  const std::lock_guard lock(mutex_);
  running_.erase(key);
  check.result = result;
  // Before what may fail, or whoever waits would wait for ever.
  check.changed.notify();
  if (const int error = base::fault_point("password.remember"); error != 0) {
    throw base::IoError(error, "remembering what became of a password");
  }
  if (result == PasswordResult::wrong) {
    if (!check.counted_as_pair) suspects_.remember(asker.client, clock_.now());
  } else if (check.counted_as_pair) {
    by_pair_.refund(asker.pair());
  } else {
    by_client_.refund(asker.client);
  }
  if (result == PasswordResult::right) {
    right_.remember(key, clock_.now());
    known_pairs_.remember(asker.pair(), clock_.now());
  }
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

// Gives it its turn, or has it wait, if need be in the place of another. Called with the mutex.
void Passwords::queue(const std::shared_ptr<Check>& check) {
  if (computing_ < kComputations) {
    ++computing_;
    check->turn = Turn::granted;
    return;
  }
  waiting_.push_back(check);
  if (waiting_.size() <= kWaiting) return;
  // Of equals the last, which is the first seen from behind.
  const auto worst =
      std::ranges::max_element(waiting_.rbegin(), waiting_.rend(), {}, &Check::standing);
  (*worst)->turn = Turn::refused;
  (*worst)->changed.notify();
  waiting_.erase(std::prev(worst.base()));
}

// Waits for its turn to compute. False if too many others are waiting who come before it.
base::Task<bool> Passwords::enter(std::shared_ptr<Check> check) {
  {
    const std::lock_guard lock(mutex_);
    queue(check);
  }
  if (const int error = base::fault_point("password.queued"); error != 0) {
    throw base::IoError(error, "waiting for the turn of a password");
  }
  while (true) {
    const base::Signal::Ticket ticket = check->changed.ticket();
    {
      const std::lock_guard lock(mutex_);
      if (check->turn != Turn::waiting) co_return check->turn == Turn::granted;
    }
    co_await check->changed.wait(ticket);
  }
}

// Ends what enter() began, however far it came. A place where it computed goes to the first of the
// best standing.
void Passwords::leave(const std::shared_ptr<Check>& check) {
  const std::lock_guard lock(mutex_);
  if (std::erase(waiting_, check) > 0 || check->turn != Turn::granted) return;
  if (waiting_.empty()) {
    --computing_;
    return;
  }
  const auto next = std::ranges::min_element(waiting_, {}, &Check::standing);
  (*next)->turn = Turn::granted;
  (*next)->changed.notify();
  waiting_.erase(next);
}

base::Task<PasswordVerdict> Passwords::check(HtpasswdFile& file, const http::UserPassword& given,
                                             const std::string& client) {
  if (given.user.size() > kMaxGiven || given.password.size() > kMaxGiven) {
    co_return PasswordVerdict{PasswordResult::wrong};
  }
  if (file.due(clock_.now())) co_await pool_.run([&] { file.refresh(); });
  const std::string hash = file.users()->hash(given.user);
  const std::string key = fingerprint(given, hash);
  if (right_.contains(key, clock_.now())) co_return PasswordVerdict{PasswordResult::right};

  const Asker asker{given.user, network_of(client)};
  std::shared_ptr<Check> check;
  bool mine = false;
  const base::Duration wait = begin(key, asker, check, mine);
  if (wait > base::Duration::zero()) co_return PasswordVerdict{PasswordResult::later, wait};
  if (!mine) co_return co_await wait_for(check);
  std::exception_ptr failure;
  PasswordResult result = PasswordResult::later;
  try {
    const bool turn = co_await enter(check);
    if (turn) {
      const bool right = co_await pool_.run([&] { return compare_(given.password, hash); });
      result = right ? PasswordResult::right : PasswordResult::wrong;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  leave(check);
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

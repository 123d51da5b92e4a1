// AddressLimits: how many connections each client address has, and how often it asks. An IPv4
// address counts for itself, an IPv6 address for its /64, which is one customer's.
//
// Memory is fixed and there are no locks: an address has a slot in each of two tables, by a salted
// hash, and is over its limit only if both of its slots are. So it takes two others that nobody can
// foresee, at the same time, to have one refused that is not over its own (a count-min sketch). No
// flood of addresses makes the tables grow or forget. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/event_loop.h"

namespace http {

// So many requests a second in the long run, and so many at once.
struct RequestRate {
  double per_second = 0;  // 0: no limit
  int64_t burst = 1;
};

class AddressLimits {
  struct Slot {
    std::atomic<base::TimePoint> paid_at;  // when the requests so far are paid for
    std::atomic<uint32_t> connections;
  };
  using Slots = std::array<Slot*, 2>;

 public:
  // One connection, counted as long as this lives; must not outlive the AddressLimits.
  class Connection {
   public:
    Connection() = default;
    Connection(Connection&& other) noexcept : slots_(std::exchange(other.slots_, {})) {}
    Connection& operator=(Connection&& other) noexcept {
      std::swap(slots_, other.slots_);
      return *this;
    }
    ~Connection();

   private:
    friend class AddressLimits;
    explicit Connection(const Slots& slots) : slots_(slots) {}
    Slots slots_{};
  };

  AddressLimits();

  // nullopt if the address has `most` connections already. Text that is not an address ("unix") has
  // no limits.
  std::optional<Connection> connect(const std::string& address, size_t most);

  // Counts a request: zero if it may be made, else how long it is too early.
  base::Duration request(const std::string& address, const RequestRate& rate, base::TimePoint now);

 private:
  std::optional<Slots> slots(const std::string& address);

  const std::array<uint64_t, 2> salts_;
  const std::array<std::unique_ptr<Slot[]>, 2> tables_;
};

}  // namespace http

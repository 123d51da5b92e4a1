// AddressLimits: how many connections and requests in flight each client address has, and how often
// it asks. An IPv4 address counts for itself, an IPv6 address for its /64, which is one customer's.
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
  using Count = std::atomic<uint32_t>;
  struct Slot {
    std::atomic<base::TimePoint> paid_at;  // when the requests so far are paid for
    Count connections;
    Count in_flight;
  };
  using Slots = std::array<Slot*, 2>;

 public:
  // One connection or request, counted as long as this lives; must not outlive the AddressLimits.
  class Place {
   public:
    Place() = default;
    Place(Place&& other) noexcept : counts_(std::exchange(other.counts_, {})) {}
    Place& operator=(Place&& other) noexcept {
      std::swap(counts_, other.counts_);
      return *this;
    }
    ~Place();

   private:
    friend class AddressLimits;
    explicit Place(const std::array<Count*, 2>& counts) : counts_(counts) {}
    std::array<Count*, 2> counts_{};
  };

  AddressLimits();

  // nullopt if the address has `most` connections, or requests in flight, already. Text that is not
  // an address ("unix") has no limits.
  std::optional<Place> connect(const std::string& address, size_t most);
  std::optional<Place> begin_request(const std::string& address, size_t most);

  // Counts a request: zero if it may be made, else how long it is too early.
  base::Duration request(const std::string& address, const RequestRate& rate, base::TimePoint now);

 private:
  std::optional<Slots> slots(const std::string& address);
  std::optional<Place> take_place(const std::string& address, Count Slot::* count, size_t most);

  const std::array<uint64_t, 2> salts_;
  const std::array<std::unique_ptr<Slot[]>, 2> tables_;
};

}  // namespace http

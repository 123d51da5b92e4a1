#include "http/address_limits.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "base/random.h"

namespace http {
namespace {

constexpr size_t kSlots = 1 << 15;  // of one table

// What counts as one client: the whole of an IPv4 address, half of an IPv6 address.
std::optional<uint64_t> client_of(const std::string& address) {
  in_addr v4{};
  if (::inet_pton(AF_INET, address.c_str(), &v4) == 1) return v4.s_addr;
  in6_addr v6{};
  if (::inet_pton(AF_INET6, address.c_str(), &v6) != 1) return std::nullopt;
  uint64_t network = 0;
  std::memcpy(&network, v6.s6_addr, sizeof network);
  return network;
}

// The finaliser of MurmurHash3: every bit of the result depends on every bit of the value.
uint64_t mixed(uint64_t value) {
  value ^= value >> 33;
  value *= 0xff51afd7ed558ccd;
  value ^= value >> 33;
  value *= 0xc4ceb9fe1a85ec53;
  value ^= value >> 33;
  return value;
}

}  // namespace

AddressLimits::AddressLimits()
    : salts_{base::random_number(), base::random_number()},
      tables_{std::make_unique<Slot[]>(kSlots), std::make_unique<Slot[]>(kSlots)} {}

std::optional<AddressLimits::Slots> AddressLimits::slots(const std::string& address) {
  const std::optional<uint64_t> client = client_of(address);
  if (!client) return std::nullopt;
  // The salt goes in twice, or who finds two clients that meet once would know that they always do.
  const auto slot = [&](size_t i) {
    return &tables_[i][mixed(mixed(*client + salts_[i]) ^ salts_[i]) % kSlots];
  };
  return Slots{slot(0), slot(1)};
}

AddressLimits::Place::~Place() {
  for (Count* count : counts_) {
    if (count != nullptr) --*count;
  }
}

std::optional<AddressLimits::Place> AddressLimits::take_place(const std::string& address,
                                                              Count Slot::* count, size_t most) {
  const std::optional<Slots> found = slots(address);
  if (!found) return Place();
  Place place({&((*found)[0]->*count), &((*found)[1]->*count)});
  uint32_t taken = UINT32_MAX;
  for (Count* of_slot : place.counts_) taken = std::min(taken, ++*of_slot);
  if (taken > most) return std::nullopt;
  return place;
}

std::optional<AddressLimits::Place> AddressLimits::connect(const std::string& address,
                                                           size_t most) {
  return take_place(address, &Slot::connections, most);
}

std::optional<AddressLimits::Place> AddressLimits::begin_request(const std::string& address,
                                                                 size_t most) {
  return take_place(address, &Slot::in_flight, most);
}

// The generic cell rate algorithm: each request costs a time, and may be made if what is not yet
// paid for is within the burst.
base::Duration AddressLimits::request(const std::string& address, const RequestRate& rate,
                                      base::TimePoint now) {
  const std::optional<Slots> found = slots(address);
  if (!found) return base::Duration::zero();
  const auto cost = std::chrono::duration_cast<base::Duration>(
      std::chrono::duration<double>(1 / rate.per_second));
  const base::TimePoint allowed = now + cost * (rate.burst - 1);
  base::TimePoint paid_at = base::kForever;
  for (const Slot* slot : *found) paid_at = std::min(paid_at, slot->paid_at.load());
  if (paid_at > allowed) return paid_at - allowed;
  for (Slot* slot : *found) {
    base::TimePoint before = slot->paid_at;
    while (!slot->paid_at.compare_exchange_weak(before, std::max(before, now) + cost)) {
    }
  }
  return base::Duration::zero();
}

}  // namespace http

#include "http/network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace http {
namespace {

constexpr unsigned kIpv4Prefix = 96;

struct Address {
  std::array<uint8_t, 16> bytes{};
  bool v4 = false;
};

std::optional<Address> parse_address(const std::string& text) {
  Address address;
  if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) return address;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data() + 12) == 1) {
    address.bytes[10] = address.bytes[11] = 0xff;
    address.v4 = true;
    return address;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Network> Network::parse(const std::string& text) {
  const size_t slash = std::min(text.find('/'), text.size());
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned width = address->v4 ? 32 : 128;
  unsigned bits = width;
  if (slash != text.size()) {
    const char* const begin = text.data() + slash + 1;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(begin, end, bits);
    if (error != std::errc() || rest != end || bits > width) return std::nullopt;
  }
  Network network;
  network.address_ = address->bytes;
  network.bits_ = address->v4 ? kIpv4Prefix + bits : bits;
  return network;
}

bool Network::contains(const std::string& text) const {
  const auto address = parse_address(text);
  if (!address) return false;
  const size_t whole = bits_ / 8;
  if (std::memcmp(address->bytes.data(), address_.data(), whole) != 0) return false;
  if (bits_ % 8 == 0) return true;
  const unsigned mask = 0xffU << (8 - bits_ % 8);
  return ((address->bytes[whole] ^ address_[whole]) & mask & 0xffU) == 0;
}

bool contains_address(const std::vector<Network>& networks, const std::string& address) {
  return std::ranges::any_of(networks, [&](const Network& n) { return n.contains(address); });
}

}  // namespace http

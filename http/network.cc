#include "http/network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

namespace http {
namespace {

using Bytes = std::array<uint8_t, 16>;

constexpr unsigned kIpv4Prefix = 96;

struct Address {
  Bytes bytes{};
  bool v4 = false;  // written as one
};

bool in_ipv4(const Bytes& address) {
  constexpr std::array<uint8_t, kIpv4Prefix / 8> kMapped = {0, 0, 0, 0, 0,    0,
                                                            0, 0, 0, 0, 0xff, 0xff};
  return std::ranges::equal(std::span(address).first<kMapped.size()>(), kMapped);
}

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

std::optional<Network> Network::around(const std::string& text, unsigned ipv4_bits,
                                       unsigned ipv6_bits) {
  const auto address = parse_address(text);
  if (!address) return std::nullopt;
  Network network;
  network.address_ = address->bytes;
  network.bits_ = in_ipv4(address->bytes) ? kIpv4Prefix + ipv4_bits : ipv6_bits;
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

std::string Network::str() const {
  Bytes first = address_;
  for (unsigned bit = bits_; bit < first.size() * 8; ++bit) {
    first[bit / 8] &= static_cast<uint8_t>(~(0x80U >> bit % 8));
  }
  const bool v4 = bits_ >= kIpv4Prefix && in_ipv4(first);
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(v4 ? AF_INET : AF_INET6, first.data() + (v4 ? kIpv4Prefix / 8 : 0), text.data(),
              text.size());
  return std::string(text.data()) + '/' + std::to_string(v4 ? bits_ - kIpv4Prefix : bits_);
}

std::optional<std::string> address_text(std::string_view bytes) {
  if (bytes.size() != sizeof(in_addr) && bytes.size() != sizeof(in6_addr)) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6, bytes.data(), text.data(),
              text.size());
  return text.data();
}

std::optional<std::string> canonical_address(const std::string& text) {
  std::array<char, sizeof(in6_addr)> bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) {
    return address_text({bytes.data(), sizeof(in_addr)});
  }
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return std::nullopt;
  return address_text({bytes.data(), bytes.size()});
}

bool contains_address(const std::vector<Network>& networks, const std::string& address) {
  return std::ranges::any_of(networks, [&](const Network& n) { return n.contains(address); });
}

}  // namespace http

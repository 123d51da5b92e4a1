// Network: an IPv4 or IPv6 network in CIDR notation. A value. IPv4 addresses in IPv6 form
// (::ffff:192.0.2.1) count as IPv4, because that is how a listener for both reports them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace http {

class Network {
 public:
  // "10.16.169.0/24", "2001:db8::/32", or a single address.
  static std::optional<Network> parse(const std::string& text);

  // The network of this address that has so many leading bits in common with it; nullopt for text
  // that is not an address.
  static std::optional<Network> around(const std::string& address, unsigned ipv4_bits,
                                       unsigned ipv6_bits);

  // False for text that is not an address.
  bool contains(const std::string& address) const;
  // In CIDR notation, with the bits beyond the prefix 0: one text for one network.
  std::string str() const;

  bool operator==(const Network&) const = default;

 private:
  std::array<uint8_t, 16> address_{};  // IPv4 in IPv6 form
  unsigned bits_ = 0;                  // of the 128
};

// The text of an address of 4 or 16 bytes; nullopt for any other number of them.
std::optional<std::string> address_text(std::string_view bytes);
// The same of an address in whatever way it is written; nullopt for text that is none.
std::optional<std::string> canonical_address(const std::string& text);

bool contains_address(const std::vector<Network>& networks, const std::string& address);

}  // namespace http

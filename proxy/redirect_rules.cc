#include "proxy/redirect_rules.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/ascii.h"

namespace proxy {
namespace {

std::vector<http::Network> special_networks() {
  constexpr std::array kSpecial = {
      // this network, private, shared, loopback, link-local (with the cloud's metadata)
      "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
      // private, protocol assignments, documentation, 6to4 relays, private, benchmarks
      "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
      "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
      // multicast, reserved and broadcast
      "224.0.0.0/4", "240.0.0.0/4",
      // unspecified, loopback and IPv4-compatible; local NAT64, discard, Teredo and other protocol
      // assignments, documentation, 6to4
      "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
      // documentation, segment routing, unique local, link-local, site-local, multicast
      "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"};
  std::vector<http::Network> networks;
  networks.reserve(kSpecial.size());
  for (const char* text : kSpecial) networks.push_back(http::Network::parse(text).value());
  return networks;
}

// The IPv4 address that NAT64 (RFC 6052) reaches by this one, or the address itself.
std::string behind_nat64(const std::string& address) {
  static const http::Network nat64 = http::Network::parse("64:ff9b::/96").value();
  std::array<unsigned char, 16> bytes{};
  if (!nat64.contains(address) || ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) {
    return address;
  }
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, bytes.data() + 12, text.data(), text.size());
  return text.data();
}

bool is_host_name(const std::string& text) {
  const auto good = [](char c) {
    return base::is_lower(c) || base::is_digit(c) || c == '-' || c == '.' || c == '_';
  };
  return !text.empty() && std::ranges::all_of(text, good);
}

}  // namespace

bool is_global_address(const std::string& address) {
  static const std::vector<http::Network> special = special_networks();
  static const http::Network all_v4 = http::Network::parse("0.0.0.0/0").value();
  static const http::Network all_v6 = http::Network::parse("::/0").value();
  const std::string real = behind_nat64(address);
  if (!all_v4.contains(real) && !all_v6.contains(real)) return false;  // not an address at all
  return !http::contains_address(special, real);
}

std::optional<RedirectRules> RedirectRules::parse(const std::vector<std::string>& allowed) {
  RedirectRules rules;
  for (const std::string& text : allowed) {
    if (const auto network = http::Network::parse(text)) {
      rules.networks_.push_back(*network);
      continue;
    }
    std::string host = base::to_lower(text);
    if (!is_host_name(host)) return std::nullopt;
    rules.hosts_.push_back(std::move(host));
  }
  return rules;
}

std::string RedirectRules::refusal(const http::Url& from, const http::Url& to) {
  if (from.scheme == "https" && to.scheme == "http") return "a redirect from https to http";
  return "";
}

bool RedirectRules::may_connect(const http::Url& to, const std::string& address) const {
  return is_global_address(address) || std::ranges::find(hosts_, to.host) != hosts_.end() ||
         http::contains_address(networks_, address);
}

}  // namespace proxy

#include "http/forwarded.h"

#include <algorithm>
#include <ranges>
#include <string_view>
#include <utility>

namespace http {
namespace {

// Whether every quoted string in a field's value has its end. One without takes in what the next
// proxy adds.
bool quotes_end(std::string_view text) {
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    }
  }
  return !quoted;
}

// The parts of a field's value between separators, except separators in quoted strings.
std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (text[i] == separator && !quoted) {
      parts.push_back(trim(text.substr(begin, i - begin)));
      begin = i + 1;
    }
  }
  parts.push_back(trim(text.substr(begin)));
  return parts;
}

std::string unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::string(text);
  std::string out;
  for (size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

// The value of a parameter in one element of Forwarded, or "".
std::string forwarded_value(std::string_view element, std::string_view name) {
  for (const std::string_view pair : split(element, ';')) {
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    if (iequals(trim(pair.substr(0, equals)), name)) {
      return unquote(trim(pair.substr(equals + 1)));
    }
  }
  return "";
}

// Without a port, and an IPv6 address without its brackets.
std::string bare_address(std::string_view node) {
  if (node.starts_with('[')) return std::string(node.substr(1, node.find(']') - 1));
  if (std::ranges::count(node, ':') == 1) node = node.substr(0, node.find(':'));
  return std::string(node);
}

// The addresses that the proxies saw, nearest to the client first, as each of the fields has them;
// empty without it.
std::vector<std::string> x_forwarded_for(const Headers& headers) {
  std::vector<std::string> addresses;
  const std::string list = headers.joined("X-Forwarded-For");
  if (list.empty()) return addresses;
  // Not split(): a quote means nothing in it, and one of the client's would hide what follows.
  for (const auto node : list | std::views::split(',')) {
    addresses.push_back(bare_address(trim(std::string_view(node))));
  }
  return addresses;
}

std::vector<std::string> forwarded_for(const Headers& headers) {
  std::vector<std::string> addresses;
  const std::string list = headers.joined("Forwarded");
  if (list.empty()) return addresses;
  for (const std::string_view element : split(list, ',')) {
    addresses.push_back(bare_address(forwarded_value(element, "for")));
  }
  return addresses;
}

// The last of them that is not a trusted proxy's, or the first.
std::string first_untrusted(const std::vector<std::string>& seen, const TrustedProxies& trusted) {
  for (const std::string& address : std::views::reverse(seen)) {
    if (!contains_address(trusted.networks, address)) return address;
  }
  return seen.front();
}

// As text that is the same for the same address.
std::string comparable(const std::string& address) {
  return canonical_address(address).value_or(address);
}

std::string first_of(const Headers& headers, std::string_view name) {
  return std::string(split(headers.get(name).value_or(""), ',').front());
}

bool fit_for_url(std::string_view host) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:[]_-";
  return !host.empty() && host.find_first_not_of(kAllowed) == std::string_view::npos;
}

}  // namespace

bool TrustedProxies::contain(const Peer& peer) const {
  return peer.address == kUnixPeer ? unix_socket : contains_address(networks, peer.address);
}

std::optional<std::string> client_address(const Request& request, const TrustedProxies& trusted) {
  const std::string& peer = request.peer.address;
  if (!trusted.contain(request.peer)) return peer;
  if (!quotes_end(request.headers.joined("Forwarded"))) return std::nullopt;
  const std::vector<std::string> x_forwarded = x_forwarded_for(request.headers);
  const std::vector<std::string> forwarded = forwarded_for(request.headers);
  if (x_forwarded.empty() && forwarded.empty()) return peer;
  // A Forwarded that says only how the request came, as "proto=https", names nobody.
  const bool named = std::ranges::any_of(forwarded, [](const auto& each) { return !each.empty(); });
  if (!x_forwarded.empty() && !named) return first_untrusted(x_forwarded, trusted);
  std::string client = first_untrusted(forwarded, trusted);
  if (x_forwarded.empty()) return client;
  // A proxy that sets one of the two passes on the other as it came from the client. To take the
  // proxy itself for the client would give away what it may do.
  if (comparable(client) != comparable(first_untrusted(x_forwarded, trusted))) return std::nullopt;
  return client;
}

bool is_for_another(const Request& request, const TrustedProxies& trusted) {
  return !trusted.contain(request.peer) &&
         !(x_forwarded_for(request.headers).empty() && forwarded_for(request.headers).empty());
}

std::string public_base(const Request& request) {
  std::string scheme = request.peer.tls ? "https" : "http";
  std::string host(request.headers.get("Host").value_or(""));
  std::string seen_scheme;
  std::string seen_host;
  if (const auto forwarded = request.headers.get("Forwarded")) {
    const std::string_view first = split(*forwarded, ',').front();
    seen_scheme = forwarded_value(first, "proto");
    seen_host = forwarded_value(first, "host");
  } else {
    seen_scheme = first_of(request.headers, "X-Forwarded-Proto");
    seen_host = first_of(request.headers, "X-Forwarded-Host");
  }
  if (iequals(seen_scheme, "https")) scheme = "https";
  if (iequals(seen_scheme, "http")) scheme = "http";
  if (!seen_host.empty()) host = seen_host;
  return fit_for_url(host) ? scheme + "://" + host : "";
}

}  // namespace http

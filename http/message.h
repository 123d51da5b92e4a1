// Requests, responses and header fields (RFC 9110). Plain values, no I/O.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace http {

// More fields than any message has: a request with more is refused with 431 (RFC 6585 §5), since
// each costs an allocation or two.
constexpr size_t kMaxFields = 128;

// Header fields in order. Names compare case-insensitively and are kept as given.
class Headers {
 public:
  struct Field {
    std::string name;
    std::string value;
    bool operator==(const Field&) const = default;
  };

  void add(std::string_view name, std::string_view value);
  // Replaces every field of that name.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  bool has(std::string_view name) const;
  // The first field's value.
  std::optional<std::string_view> get(std::string_view name) const;
  // All fields of that name joined with ", " (RFC 9110 §5.2).
  std::string joined(std::string_view name) const;
  // True if a comma-separated list field contains the token, compared case-insensitively.
  bool has_token(std::string_view name, std::string_view token) const;

  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  size_t size() const { return fields_.size(); }
  // The same fields in the same order, as they were given.
  bool operator==(const Headers&) const = default;

 private:
  std::vector<Field> fields_;
};

// The address of who connects to a unix socket.
inline constexpr std::string_view kUnixPeer = "unix";

// Who sent the request.
struct Peer {
  std::string address;  // numeric, no brackets; or kUnixPeer
  uint16_t port = 0;
  bool tls = false;
  // From a client certificate that verified against the configured authorities; empty without one.
  std::string certificate_subject;  // RFC 2253, e.g. "CN=edge-1,O=Example"
  // Its subjectAltNames (RFC 5280 §4.2.1.6) with their kinds, as OpenSSL writes both:
  // "DNS:edge-1.example", "email:ann@example.com", "URI:spiffe://example/edge", "IP:2001:db8::1".
  std::vector<std::string> certificate_names;
};

enum class Version { http1_0, http1_1, http2 };

struct Request {
  std::string method;
  std::string target;  // as received, origin-form
  std::string path;    // percent-decoded, "%2F" and "%00" left as they are
  std::string query;   // raw, without '?'
  Headers headers;
  Peer peer;
  Version version = Version::http1_1;

  // The address it comes from in the first place (see ServerLimits::trusted_proxies); empty if its
  // head was refused, or does not name one.
  std::string client;
  // What a handler finds out for the access log: the name by which the request goes in other logs
  // and events, and the user. Empty if not known.
  std::string id;
  std::string user;
  // What kind of request it is, for metrics: a text that lives for ever. Empty if not known.
  std::string_view kind;
  // How long it waited for other servers before it could be answered. Not set if it asked none.
  std::optional<std::chrono::nanoseconds> upstream_wait;

  bool is(std::string_view m) const { return method == m; }
  // The first value of a query parameter, decoded.
  std::optional<std::string> query_value(std::string_view name) const;
  // All values of a query parameter, decoded.
  std::vector<std::string> query_values(std::string_view name) const;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

// "HTTP/1.1", as the access log has it.
std::string_view version_name(Version version);
std::string_view reason_phrase(int status);
bool iequals(std::string_view a, std::string_view b);
// RFC 9110 §5.6.2.
bool is_token_char(char c);
// Without the optional whitespace around it (OWS, RFC 9110 §5.6.3).
std::string_view trim(std::string_view text);
std::string percent_decode(std::string_view text);
// Everything but unreserved characters (RFC 3986 §2.3) escaped.
std::string percent_encode(std::string_view text);
// IMF-fixdate (RFC 9110 §5.6.7) of a Unix time.
std::string http_date(int64_t unix_seconds);

}  // namespace http

#include "http/server_config.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"

namespace http {
namespace {

constexpr uint64_t kMaxSecret = 4096;
// What is shorter can be guessed: a key from one signature.
constexpr size_t kLeastSecret = 16;
constexpr const char* kNetworks = "networks such as 10.16.169.0/24 or 2001:db8::/32";
constexpr const char* kGoodSecret = "at least 16 characters; openssl rand -hex 32 makes good ones";

// An error about a secret, without it.
[[noreturn]] void fail_secret(const base::Section& section, const std::string& key,
                              const std::string& expected) {
  const std::string file = key + "_file";
  if (section.has(file)) section.fail(file, expected);
  section.hide_values();
  section.fail(key, expected);
}

Network read_network(const base::Section& section, std::string_view key, const std::string& text,
                     const std::string& expected) {
  const auto network = Network::parse(text);
  if (!network) section.fail(key, expected);
  return *network;
}

TrustedProxies read_trusted_proxies(const base::Section& server) {
  constexpr std::string_view kKey = "trusted_proxies";
  TrustedProxies trusted;
  for (const std::string& text : server.strings(kKey)) {
    if (text == kUnixPeer) {
      trusted.unix_socket = true;
    } else {
      trusted.networks.push_back(
          read_network(server, kKey, text, std::string(kNetworks) + ", or unix"));
    }
  }
  return trusted;
}

void read_address_limits(const base::Section& section, ServerLimits& limits) {
  constexpr int64_t kMostPerAddress = 1'000'000;
  limits.max_connections_per_address =
      static_cast<size_t>(section.integer("connections", 0, 0, kMostPerAddress));
  // So that no address takes every place.
  const auto half = static_cast<int64_t>(std::max<size_t>(1, limits.max_requests_in_flight / 2));
  limits.max_requests_in_flight_per_address =
      static_cast<size_t>(section.integer("in_flight", half, 0, int64_t{1} << 32));
  const int64_t requests = section.integer("requests", 0, 0, kMostPerAddress);
  limits.request_rate_per_address.per_second = static_cast<double>(requests);
  // A second's worth at once, unless it is said otherwise.
  limits.request_rate_per_address.burst =
      section.integer("burst", std::max<int64_t>(requests, 1), 1, kMostPerAddress);
  limits.unlimited = read_networks(section, "except");
}

void read_bandwidth(const base::Section& section, ServerLimits& limits) {
  limits.connection_bandwidth = section.size("connection", 0);
  limits.total_bandwidth = section.size("total", 0);
  if (limits.connection_bandwidth > 0 && limits.connection_bandwidth / 2 < limits.min_send_rate) {
    section.fail("connection", "0, or at least twice server.min_send_rate");
  }
}

}  // namespace

ServerLimits read_server_limits(const base::Section& server) {
  ServerLimits limits;
  const auto count = [&server](const char* key, size_t fallback) {
    return static_cast<size_t>(
        server.integer(key, static_cast<int64_t>(fallback), 1, int64_t{1} << 32));
  };
  limits.max_connections = count("max_connections", limits.max_connections);
  limits.max_requests_in_flight = count("max_requests", limits.max_requests_in_flight);
  limits.max_header_bytes = server.size("max_header", limits.max_header_bytes);
  limits.header_timeout = server.duration("header_timeout", limits.header_timeout);
  limits.idle_timeout = server.duration("idle_timeout", limits.idle_timeout);
  limits.body_timeout = server.duration("body_timeout", limits.body_timeout);
  limits.min_body_rate = server.size("min_body_rate", limits.min_body_rate);
  limits.send_timeout = server.duration("send_timeout", limits.send_timeout);
  limits.min_send_rate = server.size("min_send_rate", limits.min_send_rate);
  limits.trusted_proxies = read_trusted_proxies(server);
  read_address_limits(server.section("per_address"), limits);
  read_bandwidth(server.section("bandwidth"), limits);
  return limits;
}

TlsOptions read_tls_options(const base::Section& tls) {
  TlsOptions options;
  options.certificates.push_back({tls.required_string("certificate"), tls.required_string("key")});
  for (const base::Section& more : tls.sections("certificates")) {
    options.certificates.push_back(
        {more.required_string("certificate"), more.required_string("key")});
  }
  for (const std::string& file : tls.strings("clientcas")) options.client_cas.emplace_back(file);
  const std::string minimum =
      tls.choice("minimumtls", {"tls1.0", "tls1.1", "tls1.2", "tls1.3"}, "tls1.2");
  LOG_IF(WARNING, minimum < "tls1.2") << minimum << " is not spoken: minimumtls is tls1.2";
  options.minimum_version = minimum == "tls1.3" ? 13 : 12;
  for (const std::string& suite : tls.strings("ciphersuites")) {
    if (!options.add_cipher_suite(suite)) {
      tls.fail("ciphersuites", "names such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, not " + suite);
    }
  }
  return options;
}

void read_client_auth(const base::Section& tls, TlsOptions& options) {
  const std::string required = "require-and-verify-client-cert";
  const std::string how =
      tls.choice("clientauth", {required, "verify-client-cert-if-given"}, required);
  options.require_client_certificate = how == required && !options.client_cas.empty();
}

AccessFormat read_access_format(const base::Section& accesslog) {
  const std::string format = accesslog.choice("format", {"combined", "json"}, "combined");
  return format == "json" ? AccessFormat::json : AccessFormat::combined;
}

bool read_http2(const base::Section& http) {
  return !http.section("http2").boolean("disabled", false);
}

std::string read_secret(const base::Section& section, const std::string& key) {
  const std::string file = section.string(key + "_file");
  std::string secret = section.secret(key);
  if (file.empty()) return secret;
  if (!secret.empty())
    fail_secret(section, key, "either " + key + " or " + key + "_file, not both");
  std::optional<std::string> content;
  try {
    content = base::read_file(file, kMaxSecret);
  } catch (const base::IoError& e) {
    section.fail(key + "_file", std::string("a file that can be read (") + e.what() + ")");
  }
  if (!content) section.fail(key + "_file", "a file that exists");
  while (content->ends_with('\n')) content->pop_back();
  if (content->empty()) section.fail(key + "_file", "a file with a secret in it");
  return *content;
}

void require_strong(const base::Section& section, const std::string& key,
                    const std::string& secret) {
  if (secret.size() < kLeastSecret) fail_secret(section, key, kGoodSecret);
}

std::vector<Network> read_networks(const base::Section& section, std::string_view key) {
  std::vector<Network> networks;
  for (const std::string& text : section.strings(key)) {
    networks.push_back(read_network(section, key, text, kNetworks));
  }
  return networks;
}

std::vector<SigningKey> read_signing_keys(const base::Section& signature) {
  std::vector<SigningKey> keys;
  for (const base::Section& section : signature.sections("keys")) {
    SigningKey key{section.required_string("id"), read_secret(section, "secret")};
    if (!valid_key_id(key.id)) section.fail("id", "up to 64 letters, digits and -_.");
    if (std::ranges::find(keys, key.id, &SigningKey::id) != keys.end()) {
      section.fail("id", "another one than that of a key before it");
    }
    require_strong(section, "secret", key.secret);
    keys.push_back(std::move(key));
  }
  if (keys.empty()) signature.fail("keys", "a list of {id, secret_file}");
  return keys;
}

base::LogLevel read_log_level(const base::Section& log, std::string_view key) {
  const std::string level = log.choice(key, {"error", "warn", "info", "debug"}, "info");
  if (level == "error") return base::LogLevel::error;
  if (level == "warn") return base::LogLevel::warning;
  if (level == "debug") return base::LogLevel::debug;
  return base::LogLevel::info;
}

}  // namespace http

#include "http/server_config.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"

namespace http {
namespace {

constexpr uint64_t kMaxSecret = 4096;
// What is shorter can be guessed from one signature.
constexpr size_t kLeastSecret = 16;
constexpr const char* kGoodSecret = "at least 16 characters; openssl rand -hex 32 makes good ones";

// An error about a secret, without it.
[[noreturn]] void fail_secret(const base::Section& section, const std::string& key,
                              const std::string& expected) {
  const std::string file = key + "_file";
  if (section.has(file)) section.fail(file, expected);
  section.hide_values();
  section.fail(key, expected);
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
  limits.send_timeout = server.duration("send_timeout", limits.send_timeout);
  return limits;
}

TlsOptions read_tls_options(const base::Section& tls) {
  TlsOptions options;
  options.certificates.push_back({tls.required_string("certificate"), tls.required_string("key")});
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

std::vector<Network> read_networks(const base::Section& section, std::string_view key) {
  std::vector<Network> networks;
  for (const std::string& text : section.strings(key)) {
    const auto network = Network::parse(text);
    if (!network) section.fail(key, "networks such as 10.16.169.0/24 or 2001:db8::/32");
    networks.push_back(*network);
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
    if (key.secret.size() < kLeastSecret) fail_secret(section, "secret", kGoodSecret);
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

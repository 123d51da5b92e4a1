#include "origin/health_config.h"

#include <limits>

namespace origin {
namespace {

using Duration = std::chrono::nanoseconds;

constexpr int64_t kUnaskedThreshold = 3;

// A duration of which 0, as in Distribution, means that there is none given.
Duration positive(const base::Section& section, std::string_view key, Duration fallback) {
  const Duration given = section.duration(key, fallback);
  return given == Duration::zero() ? fallback : given;
}

HealthConfig::Timing read_timing(const base::Section& check) {
  HealthConfig::Timing timing;
  timing.interval = positive(check, "interval", timing.interval);
  timing.threshold = check.integer("threshold", 0, 0, std::numeric_limits<int32_t>::max());
  return timing;
}

HealthConfig::HttpCheck read_http(const base::Section& section) {
  HealthConfig::HttpCheck check;
  check.timing = read_timing(section);
  check.timeout = positive(section, "timeout", check.timeout);
  check.uri = section.required_string("uri");
  if (!check.uri.starts_with("https://") && !check.uri.starts_with("http://")) {
    section.fail("uri", "a URL that begins with https:// or http://");
  }
  check.status = static_cast<int>(section.integer("statuscode", check.status, 100, 599));
  const base::Section headers = section.section("headers");
  headers.hide_values();
  for (const std::string& name : headers.keys()) {
    for (const std::string& value : headers.strings(name)) check.headers.add(name, value);
  }
  return check;
}

HealthConfig::TcpCheck read_tcp(const base::Section& section) {
  HealthConfig::TcpCheck check;
  check.timing = read_timing(section);
  check.timeout = positive(section, "timeout", check.timeout);
  check.address = section.required_string("addr");
  if (check.address.find(':') == std::string::npos) section.fail("addr", "host:port");
  return check;
}

}  // namespace

HealthConfig read_health(const base::Section& health) {
  HealthConfig config;
  const base::Section storage = health.section("storagedriver");
  config.storage.enabled = storage.boolean("enabled", false);
  config.storage.timing = read_timing(storage);
  // What nobody has asked for takes no replica out at the first slow answer: all look at one
  // storage.
  if (!config.storage.enabled && config.storage.timing.threshold == 0) {
    config.storage.timing.threshold = kUnaskedThreshold;
  }
  config.storage.timeout = positive(storage, "timeout", config.storage.timeout);
  for (const base::Section& file : health.sections("file")) {
    config.files.push_back({read_timing(file), file.required_string("file")});
  }
  for (const base::Section& uri : health.sections("http")) config.uris.push_back(read_http(uri));
  for (const base::Section& tcp : health.sections("tcp")) {
    config.addresses.push_back(read_tcp(tcp));
  }
  return config;
}

}  // namespace origin

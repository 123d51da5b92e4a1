#include "origin/events/config.h"

#include <algorithm>
#include <limits>

namespace origin {
namespace {

constexpr size_t kMaxName = 64;

std::string read_name(const base::Section& endpoint) {
  std::string name = endpoint.required_string("name");
  if (name.size() > kMaxName || name == "." || name == "..") {
    endpoint.fail("name", "a name of at most 64 characters");
  }
  return name;
}

// The message of a mistake shows the section, never a value: it may be a password.
http::Headers read_headers(const base::Section& endpoint) {
  const base::Section section = endpoint.section("headers");
  section.hide_values();
  http::Headers headers;
  for (const std::string& name : section.keys()) {
    for (const std::string& value : section.strings(name)) {
      if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
        endpoint.fail("headers", "values of one line");
      }
      headers.add(name, value);
    }
  }
  return headers;
}

// Zero means the default, as in Distribution.
std::chrono::nanoseconds read_duration(const base::Section& endpoint, std::string_view key,
                                       std::chrono::nanoseconds fallback) {
  const auto duration = endpoint.duration(key, fallback);
  return duration.count() == 0 ? fallback : duration;
}

EndpointConfig read_endpoint(const base::Section& endpoint) {
  EndpointConfig config;
  config.name = read_name(endpoint);
  config.url = endpoint.required_string("url");
  if (!config.url.starts_with("https://") && !config.url.starts_with("http://")) {
    endpoint.fail("url", "a URL that begins with https:// or http://");
  }
  config.headers = read_headers(endpoint);
  config.timeout = read_duration(endpoint, "timeout", config.timeout);
  config.backoff = read_duration(endpoint, "backoff", config.backoff);
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t threshold =
      endpoint.integer("threshold", static_cast<int64_t>(config.threshold), -kMost, kMost);
  if (threshold > 0) config.threshold = static_cast<uint64_t>(threshold);
  const base::Section ignore = endpoint.section("ignore");
  config.ignored_media_types = ignore.strings("mediatypes");
  for (std::string& type : endpoint.strings("ignoredmediatypes")) {
    config.ignored_media_types.push_back(std::move(type));
  }
  config.ignored_actions = ignore.strings("actions");
  return config;
}

}  // namespace

NotificationsConfig read_notifications(const base::Section& root) {
  const base::Section section = root.section("notifications");
  NotificationsConfig config;
  config.include_references = section.section("events").boolean("includereferences", false);
  const base::Section queue = section.section("queue");
  config.queue_directory = queue.string("directory", config.queue_directory);
  config.queue_limit = queue.size("limit", config.queue_limit);
  for (const base::Section& endpoint : section.sections("endpoints")) {
    EndpointConfig read = read_endpoint(endpoint);
    const bool taken =
        std::ranges::any_of(config.endpoints, [&](auto& other) { return other.name == read.name; });
    if (taken) endpoint.fail("name", "a name that no other endpoint has");
    if (!endpoint.boolean("disabled", false)) config.endpoints.push_back(std::move(read));
  }
  return config;
}

}  // namespace origin

// NotificationsConfig: who is told what happens in the registry. The configuration's section
// "notifications", as in Distribution; its "queue" is ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/yaml_config.h"
#include "http/message.h"

namespace origin {

struct EndpointConfig {
  std::string name;  // also in logs, and names the queue's directory
  std::string url;
  http::Headers headers;  // may hold credentials: never logged
  std::chrono::nanoseconds timeout = std::chrono::seconds(1);
  uint64_t threshold = 10;  // failures in a row before it is left alone for a while
  std::chrono::nanoseconds backoff = std::chrono::seconds(1);  // the first such while
  std::vector<std::string> ignored_media_types;
  std::vector<std::string> ignored_actions;

  bool operator==(const EndpointConfig&) const = default;
};

struct NotificationsConfig {
  std::vector<EndpointConfig> endpoints;  // without those that are disabled
  bool include_references = false;
  std::filesystem::path queue_directory = "/var/lib/entrepot/events";
  uint64_t queue_limit = 64 << 20;  // bytes of events that wait, for each endpoint

  bool operator==(const NotificationsConfig&) const = default;
};

// base::ConfigError for what is wrong.
NotificationsConfig read_notifications(const base::Section& root);

}  // namespace origin

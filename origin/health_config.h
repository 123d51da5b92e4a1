// The section "health" of the configuration file: Distribution's keys, and storagedriver.timeout of
// our own.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/yaml_config.h"
#include "http/message.h"

namespace origin {

struct HealthConfig {
  // When a check is made, and how many failures in a row count as one.
  struct Timing {
    std::chrono::nanoseconds interval = std::chrono::seconds(10);
    int64_t threshold = 0;  // as 1

    bool operator==(const Timing&) const = default;
  };
  // /healthz goes by it in any case.
  struct StorageCheck {
    bool enabled = false;  // requests are refused while it fails
    Timing timing;
    std::chrono::nanoseconds timeout = std::chrono::seconds(5);

    bool operator==(const StorageCheck&) const = default;
  };
  // Unhealthy while the file exists.
  struct FileCheck {
    Timing timing;
    std::filesystem::path file;

    bool operator==(const FileCheck&) const = default;
  };
  // Unhealthy unless a HEAD has this status.
  struct HttpCheck {
    Timing timing;
    std::chrono::nanoseconds timeout = std::chrono::seconds(5);
    std::string uri;
    http::Headers headers;
    int status = 200;

    bool operator==(const HttpCheck&) const = default;
  };
  // Unhealthy unless it can be connected to.
  struct TcpCheck {
    Timing timing;
    std::chrono::nanoseconds timeout = std::chrono::seconds(5);
    std::string address;  // host:port

    bool operator==(const TcpCheck&) const = default;
  };

  StorageCheck storage;
  std::vector<FileCheck> files;
  std::vector<HttpCheck> uris;
  std::vector<TcpCheck> addresses;

  bool operator==(const HealthConfig&) const = default;
};

// base::ConfigError for what is wrong.
HealthConfig read_health(const base::Section& health);

}  // namespace origin

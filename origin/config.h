// Config: the origin's configuration file, in Distribution's format (version 0.1), with the
// sections "redirect" and "server" of our own.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "http/server.h"
#include "http/tls.h"
#include "origin/events/config.h"
#include "origin/network.h"
#include "origin/redirect.h"

namespace origin {

struct Config {
  std::filesystem::path root;   // storage.filesystem.rootdirectory
  bool delete_enabled = false;  // storage.delete.enabled

  std::string address;                  // http.addr
  std::optional<http::TlsOptions> tls;  // http.tls
  std::string secret;                   // http.secret; empty: the one in the storage
  std::string host;                     // http.host, without a trailing slash
  bool relative_urls = false;           // http.relativeurls
  http::Headers headers;                // http.headers
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(60);  // http.draintimeout

  RedirectConfig redirect;
  NotificationsConfig notifications;

  http::ServerLimits limits;
  size_t loops = 0;  // 0: one per core
  size_t threads = 16;
  std::vector<Network> trusted_proxies;  // whose word on the client's address is believed

  base::LogLevel log_level = base::LogLevel::info;
  bool access_log = true;
};

// base::ConfigError for what is wrong; what is unknown is logged and ignored, as Distribution
// ignores it. Refuses what would open a registry that its administrator means to be closed.
Config read_config(const std::filesystem::path& path);

}  // namespace origin

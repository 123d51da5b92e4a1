// Config: the origin's configuration file, in Distribution's format (version 0.1), with the
// sections "access", "redirect" and "server" of our own.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/service_manager.h"
#include "http/access_log.h"
#include "http/network.h"
#include "http/server.h"
#include "http/tls.h"
#include "origin/auth/config.h"
#include "origin/debug_server.h"
#include "origin/events/config.h"
#include "origin/health_config.h"
#include "origin/maintenance/upload_purger.h"
#include "origin/redirect.h"
#include "origin/validation.h"

namespace origin {

struct Config {
  std::filesystem::path root;         // storage.filesystem.rootdirectory
  bool delete_enabled = false;        // storage.delete.enabled
  bool read_only = false;             // storage.maintenance.readonly.enabled
  UploadPurging upload_purging;       // storage.maintenance.uploadpurging
  size_t max_catalog_entries = 1000;  // catalog.maxentries: more in one page is refused
  size_t max_tags = 1000;             // tags.maxtags: more in one page is cut to it

  std::string address;                  // http.addr; with http.net: unix, "unix:" before it
  std::string prefix;                   // http.prefix: "", or "/" before it and none after it
  std::optional<http::TlsOptions> tls;  // http.tls
  std::string secret;                   // http.secret; empty: the one in the storage
  std::string host;                     // http.host, without a trailing slash
  bool relative_urls = false;           // http.relativeurls
  http::Headers headers;                // http.headers
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(60);  // http.draintimeout

  // server.drain_delay: how long /healthz says 503, and all goes on, before the drain begins
  std::chrono::nanoseconds drain_delay{0};
  DebugConfig debug;    // http.debug
  HealthConfig health;  // health

  auth::AuthConfig auth;
  Validation validation;
  RedirectConfig redirect;
  NotificationsConfig notifications;

  http::ServerLimits limits;
  size_t loops = 0;  // 0: one per core
  size_t threads = 16;

  base::LogLevel log_level = base::LogLevel::info;
  base::LogFormat log_format;
  bool access_log = true;
  http::AccessFormat access_format = http::AccessFormat::combined;

  std::string effective;  // all that was read, as a file of the same format, without its secrets
  std::vector<std::string> read_paths;  // the keys that were asked for

  // What the service manager listens on for us, instead of the addresses; not in the file. One
  // named "debug" is for the debug server.
  std::vector<base::InheritedSocket> sockets;
};

// Reads the file, with what the environment (elements "NAME=value") has in its place; see
// origin/config_keys.h. base::ConfigError for what is wrong and for what must not be ignored; what
// may be, and what is unknown, is logged.
Config read_config(const std::filesystem::path& path,
                   const std::vector<std::string>& environment = {});

// What takes a new start to change is put back to what it is in the configuration in force, and
// logged where that differs.
void keep_fixed(const Config& in_force, Config& fresh);

}  // namespace origin

// The edge's configuration file. Every mistake is a base::ConfigError with file, line and key.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/service_manager.h"
#include "base/unix_time.h"
#include "cache/blob_store.h"
#include "http/access_log.h"
#include "http/server.h"
#include "proxy/admin_config.h"
#include "proxy/edge_health.h"
#include "proxy/signature_check.h"
#include "proxy/upstream_config.h"

namespace proxy {

struct EdgeListener {
  std::string address;
  std::optional<http::TlsOptions> tls;
};

struct EdgeConfig {
  std::vector<EdgeListener> listeners;
  cache::BlobStoreOptions cache;
  std::vector<UpstreamConfig> upstreams;
  std::optional<SignatureConfig> signature;  // nullopt: no signature is looked at
  // In Via, Cache-Status and CDN-Loop: no two edges that ask each other may have the same.
  std::string name = "entrepot-edge";
  http::ServerLimits limits;
  size_t loops = 0;     // 0: one per core
  size_t threads = 16;  // of the pool
  std::chrono::nanoseconds drain_timeout = std::chrono::seconds(60);
  // How long /healthz says 503, and all goes on, before the drain begins.
  std::chrono::nanoseconds drain_delay{0};
  EdgeHealthConfig health;
  base::LogLevel log_level = base::LogLevel::info;
  bool access_log = true;
  http::AccessFormat access_format = http::AccessFormat::combined;
  AdminConfig admin;
  std::string effective;  // all that was read, as a file of the same format, without its secrets
  // Where a new process asks to take the place of this one (http/takeover.h); empty: nowhere.
  std::filesystem::path takeover;
  // What the service manager listens on for us: one for each of the listeners, in their order,
  // instead of its address. Not in the file.
  std::vector<base::InheritedSocket> sockets;
  // Deadlines; not in the file.
  base::Clock* clock = &base::Clock::system();
  // The wall clock, in Unix seconds: the age of what a tag led to, and what signatures
  // are held against. Not in the file.
  std::function<int64_t()> unix_time = base::unix_now;
};

EdgeConfig read_edge_config(const std::filesystem::path& path);

// Logs what differs between two configurations but takes a new start to change.
void log_fixed_differences(const EdgeConfig& old, const EdgeConfig& fresh);

}  // namespace proxy

#include "proxy/config.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/yaml_config.h"
#include "http/server_config.h"

namespace proxy {
namespace {

HealthConfig read_health(const base::Section& section) {
  HealthConfig health;
  health.interval = section.duration("interval", health.interval);
  health.timeout = section.duration("timeout", health.timeout);
  if (health.interval < std::chrono::seconds(1)) section.fail("interval", "at least 1s");
  return health;
}

bool same_listeners(const EdgeConfig& a, const EdgeConfig& b) {
  return std::ranges::equal(a.listeners, b.listeners, [](const auto& one, const auto& other) {
    return one.address == other.address && one.tls.has_value() == other.tls.has_value();
  });
}

}  // namespace

EdgeConfig read_edge_config(const std::filesystem::path& path) {
  const base::ConfigFile file(path);
  const base::Section root = file.root();
  EdgeConfig config;

  for (const base::Section& listen : root.sections("listen")) {
    EdgeListener listener{listen.required_string("addr"), std::nullopt};
    if (listen.has("tls")) {
      listener.tls = http::read_tls_options(listen.section("tls"));
      listener.tls->http2 = http::read_http2(listen);
    }
    config.listeners.push_back(std::move(listener));
  }
  if (config.listeners.empty()) root.fail("listen", "a list of {addr, tls}");

  const base::Section cache = root.section("cache");
  config.cache.root = cache.required_string("directory");
  config.cache.capacity = cache.size("size", 0);
  if (config.cache.capacity == 0) cache.fail("size", "the most bytes to keep, such as 100GiB");

  for (const base::Section& upstream : root.sections("upstreams")) {
    config.upstreams.push_back(read_upstream(upstream));
  }
  if (config.upstreams.empty()) root.fail("upstreams", "a list of registries, such as {urls}");
  config.name = root.string("name", config.name);

  const base::Section server = root.section("server");
  config.limits = http::read_server_limits(server);
  config.loops = static_cast<size_t>(server.integer("loops", 0, 0, 1024));
  config.threads = static_cast<size_t>(server.integer("threads", 16, 1, 1024));
  config.drain_timeout = server.duration("draintimeout", config.drain_timeout);
  config.drain_delay = server.duration("drain_delay", config.drain_delay);
  config.takeover = server.string("takeover");
  config.health = read_health(root.section("health"));

  if (root.has("admin")) config.admin = read_admin(root.section("admin"));

  const base::Section log = root.section("log");
  config.log_level = http::read_log_level(log);
  config.access_log = !log.section("accesslog").boolean("disabled", false);
  for (const base::ConfigFile::Key& key : file.unread()) {
    LOG(WARNING) << key.where << key.path << ": unknown key, ignored";
  }
  config.effective = file.effective();
  return config;
}

void log_fixed_differences(const EdgeConfig& old, const EdgeConfig& fresh) {
  const auto report = [](bool same, const char* keys) {
    LOG_IF(WARNING, !same) << keys << ": changed in the file, in force after the next start";
  };
  report(same_listeners(old, fresh), "listen");
  report(old.cache.root == fresh.cache.root, "cache.directory");
  report(old.cache.capacity == fresh.cache.capacity, "cache.size");
  report(old.upstreams == fresh.upstreams, "upstreams");
  report(old.takeover == fresh.takeover, "server.takeover");
  report(old.name == fresh.name, "name");
  report(old.loops == fresh.loops && old.threads == fresh.threads, "server.loops, server.threads");
  report(old.health.interval == fresh.health.interval && old.health.timeout == fresh.health.timeout,
         "health");
  report(old.admin.address == fresh.admin.address && old.admin.token == fresh.admin.token &&
             old.admin.tls.has_value() == fresh.admin.tls.has_value(),
         "admin");
}

}  // namespace proxy

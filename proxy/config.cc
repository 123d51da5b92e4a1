#include "proxy/config.h"

#include <glog/logging.h>

#include "base/durable_file.h"
#include "base/yaml_config.h"
#include "http/server_config.h"

namespace proxy {
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

  if (root.has("admin")) config.admin = read_admin(root.section("admin"));

  const base::Section log = root.section("log");
  config.log_level = http::read_log_level(log);
  config.access_log = !log.section("accesslog").boolean("disabled", false);
  for (const base::ConfigFile::Key& key : file.unread()) {
    LOG(WARNING) << key.where << key.path << ": unknown key, ignored";
  }
  return config;
}

}  // namespace proxy

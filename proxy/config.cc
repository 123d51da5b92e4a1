#include "proxy/config.h"

#include <glog/logging.h>

#include "base/durable_file.h"
#include "base/yaml_config.h"
#include "http/server_config.h"

namespace proxy {
namespace {

// An upstream's base URL, without a trailing slash, so that a path can be put behind it.
std::string base_url(const base::Section& section, std::string url) {
  if (!url.starts_with("https://") && !url.starts_with("http://")) {
    section.fail("urls", "URLs that begin with https:// or http://");
  }
  while (url.ends_with('/')) url.pop_back();
  return url;
}

void read_upstream(const base::Section& section, EdgeConfig& config) {
  for (std::string& url : section.strings("urls")) {
    config.upstream.urls.push_back(base_url(section, std::move(url)));
  }
  if (config.upstream.urls.empty()) {
    section.fail("urls", "a list of origin URLs, such as [https://registry.example]");
  }
  config.upstream.bearer = http::read_secret(section, "bearer");
  http::ClientOptions& client = config.client;
  client.ca_file = section.string("ca");
  client.certificate = section.string("certificate");
  client.key = section.string("key");
  if (client.certificate.empty() != client.key.empty()) {
    section.fail("certificate", "certificate and key together");
  }
  client.connect_timeout = section.duration("connect_timeout", client.connect_timeout);
  client.first_byte_timeout = section.duration("first_byte_timeout", client.first_byte_timeout);
  client.stall_timeout = section.duration("stall_timeout", client.stall_timeout);
}

std::optional<SignatureConfig> read_signature(const base::Section& section) {
  if (!section.present()) return std::nullopt;
  SignatureConfig signature;
  signature.keys = http::read_signing_keys(section);
  signature.required = section.boolean("required", signature.required);
  signature.clock_skew = std::chrono::floor<std::chrono::seconds>(
      section.duration("clock_skew", signature.clock_skew));
  return signature;
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

  read_upstream(root.section("upstream"), config);
  config.upstream.via = root.string("name", "entrepot-edge");
  config.client.user_agent = "entrepot-edge/" ENTREPOT_VERSION;

  config.signature = read_signature(root.section("signature"));

  const base::Section server = root.section("server");
  config.limits = http::read_server_limits(server);
  config.loops = static_cast<size_t>(server.integer("loops", 0, 0, 1024));
  config.threads = static_cast<size_t>(server.integer("threads", 16, 1, 1024));
  config.trusted_proxies = http::read_networks(server, "trusted_proxies");
  config.drain_timeout = server.duration("draintimeout", config.drain_timeout);

  const base::Section log = root.section("log");
  config.log_level = http::read_log_level(log);
  config.access_log = !log.section("accesslog").boolean("disabled", false);
  for (const base::ConfigFile::Key& key : file.unread()) {
    LOG(WARNING) << key.where << key.path << ": unknown key, ignored";
  }
  return config;
}

}  // namespace proxy

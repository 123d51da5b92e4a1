#include "proxy/config.h"

#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <span>

#include "base/durable_file.h"
#include "base/yaml_config.h"
#include "http/cdn_loop.h"
#include "http/server_config.h"

namespace proxy {
namespace {

// What a cache leaves of its disk to others, and to its own index.
constexpr uint64_t kMinFree = 256 << 20;
constexpr uint64_t kScrubRate = 8 << 20;  // bytes a second
// The index is no place for large blobs: it needs pages in a row for them, and they are held in
// memory.
constexpr uint64_t kMostInline = 64 << 10;

// The host's name: nodes need different ones, or a chain of them looks like a loop.
std::string default_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "entrepot-edge";
  return http::is_token(name.data()) ? name.data() : "entrepot-edge";
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

EdgeHealthConfig read_health(const base::Section& section) {
  EdgeHealthConfig health;
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

// The last one must be reached by all it lists (routing.h).
void refuse_shadowed(const base::Section& section, const std::vector<UpstreamConfig>& upstreams) {
  const UpstreamConfig& last = upstreams.back();
  const auto share_one = [](const std::vector<std::string>& a, const std::vector<std::string>& b) {
    return std::ranges::find_first_of(a, b, http::iequals) != a.end();
  };
  for (const UpstreamConfig& before : std::span(upstreams).first(upstreams.size() - 1)) {
    if (share_one(before.namespaces, last.namespaces)) {
      section.fail("namespaces", "names that no other upstream has");
    }
    if (share_one(before.hosts, last.hosts)) {
      section.fail("hosts", "names that no other upstream has");
    }
    if (!last.prefix.empty() && before.prefix == last.prefix) {
      section.fail("prefix", "one that no other upstream has");
    }
    if (before.takes_the_rest() && last.takes_the_rest()) {
      section.fail("urls", "namespaces, hosts or a prefix beside them: another upstream, " +
                               before.name + ", takes all that is left");
    }
  }
}

void read_listeners(const base::Section& root, EdgeConfig& config) {
  for (const base::Section& listen : root.sections("listen")) {
    EdgeListener listener{listen.required_string("addr"), std::nullopt};
    if (listen.has("tls")) {
      listener.tls = http::read_tls_options(listen.section("tls"));
      http::read_client_auth(listen.section("tls"), *listener.tls);
      listener.tls->http2 = http::read_http2(listen);
    }
    config.listeners.push_back(std::move(listener));
  }
  if (config.listeners.empty()) root.fail("listen", "a list of {addr, tls}");
}

void read_cache(const base::Section& cache, cache::BlobStoreOptions& options) {
  options.root = cache.required_string("directory");
  options.capacity = cache.size("size", 0);
  if (options.capacity == 0) cache.fail("size", "the most bytes to keep, such as 100GiB");
  options.min_free = cache.size("min_free", kMinFree);
  options.inline_limit = cache.size("inline_limit", cache::kInlineLimit);
  if (options.inline_limit > kMostInline) {
    cache.fail("inline_limit", "at most 64KiB, or 0 for a file for each blob");
  }
  options.small_blob = cache.size("small_blob", options.small_blob);
  options.scrub_rate = cache.size("scrub_rate", kScrubRate);
  options.small_share = static_cast<double>(cache.integer("small_share", 5, 0, 100)) / 100;
}

// After the cache, of which each may have a part.
void read_upstreams(const base::Section& root, EdgeConfig& config) {
  for (const base::Section& upstream : root.sections("upstreams")) {
    config.upstreams.push_back(read_upstream(upstream));
    // What is kept of an upstream is kept under its name.
    const std::string& name = config.upstreams.back().name;
    if (std::ranges::count(config.upstreams, name, &UpstreamConfig::name) > 1) {
      upstream.fail("name",
                    "a name that no other upstream has; the default is the first URL's host");
    }
    refuse_shadowed(upstream, config.upstreams);
    // The quota is the cache's, so that to change it is not to change the upstream.
    const uint64_t quota = upstream.size("quota", config.cache.capacity);
    if (quota == 0 || quota > config.cache.capacity) {
      upstream.fail("quota", "more than 0 and no more than cache.size, which is the default");
    }
    if (quota < config.cache.capacity) config.cache.quotas.emplace(name, quota);
  }
  if (config.upstreams.empty()) root.fail("upstreams", "a list of registries, such as {urls}");
}

void read_server(const base::Section& server, EdgeConfig& config) {
  config.limits = http::read_server_limits(server);
  config.loops = static_cast<size_t>(server.integer("loops", 0, 0, 1024));
  config.threads = static_cast<size_t>(server.integer("threads", 16, 1, 1024));
  config.drain_timeout = server.duration("draintimeout", config.drain_timeout);
  config.drain_delay = server.duration("drain_delay", config.drain_delay);
  config.takeover = server.string("takeover");
}

// After the upstreams, of which one may be named.
AdminConfig read_admin_of(const base::Section& admin,
                          const std::vector<UpstreamConfig>& upstreams) {
  AdminConfig config = read_admin(admin);
  const std::string& sender = config.events.upstream;
  if (!sender.empty() &&
      std::ranges::find(upstreams, sender, &UpstreamConfig::name) == upstreams.end()) {
    admin.section("events").fail("upstream", "the name of one of the upstreams");
  }
  return config;
}

void read_log(const base::Section& log, EdgeConfig& config) {
  config.log_level = http::read_log_level(log);
  const base::Section access = log.section("accesslog");
  config.access_log = !access.boolean("disabled", false);
  config.access_format = http::read_access_format(access);
}

// But for its limits.
bool same_cache(const cache::BlobStoreOptions& a, const cache::BlobStoreOptions& b) {
  return a.root == b.root && a.inline_limit == b.inline_limit && a.small_blob == b.small_blob &&
         a.small_share == b.small_share;
}

}  // namespace

EdgeConfig read_edge_config(const std::filesystem::path& path) {
  const base::ConfigFile file(path);
  const base::Section root = file.root();
  EdgeConfig config;
  read_listeners(root, config);
  read_cache(root.section("cache"), config.cache);
  read_upstreams(root, config);
  config.name = root.string("name", default_name());
  if (!http::is_token(config.name)) root.fail("name", "a name without spaces, such as edge-1");
  config.signature = read_signature(root.section("signature"));
  read_server(root.section("server"), config);
  config.health = read_health(root.section("health"));
  if (root.has("admin")) config.admin = read_admin_of(root.section("admin"), config.upstreams);
  read_log(root.section("log"), config);
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
  report(same_cache(old.cache, fresh.cache), "cache, but for size, min_free and scrub_rate");
  report(old.takeover == fresh.takeover, "server.takeover");
  report(old.name == fresh.name, "name");
  report(old.loops == fresh.loops && old.threads == fresh.threads, "server.loops, server.threads");
  report(old.health == fresh.health, "health");
  report(old.admin.address == fresh.admin.address && old.admin.token == fresh.admin.token &&
             old.admin.events == fresh.admin.events &&
             old.admin.tls.has_value() == fresh.admin.tls.has_value(),
         "admin");
}

}  // namespace proxy

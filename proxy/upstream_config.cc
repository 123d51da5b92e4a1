#include "proxy/upstream_config.h"

#include "http/server_config.h"
#include "http/url.h"
#include "oci/name.h"

namespace proxy {
namespace {

// An upstream's base URL, without a trailing slash, so that a path can be put behind it.
std::string base_url(const base::Section& section, std::string url) {
  if (!url.starts_with("https://") && !url.starts_with("http://")) {
    section.fail("urls", "URLs that begin with https:// or http://");
  }
  while (url.ends_with('/')) url.pop_back();
  if (!http::parse_url(url) || url.find_first_of("?#") != url.npos) {
    section.fail("urls", "URLs of a host, without a user and a query");
  }
  return url;
}

std::string host_of(const std::string& url) {
  const std::string host = url.substr(url.find("://") + 3);
  return host.substr(0, host.find('/'));
}

void read_credentials(const base::Section& section, UpstreamConfig& config) {
  config.bearer = http::read_secret(section, "bearer");
  if (section.has("login")) {
    const base::Section login = section.section("login");
    config.username = login.required_string("username");
    config.password = http::read_secret(login, "password");
    if (config.username.contains(':')) login.fail("username", "a name without ':'");
    if (config.password.empty()) login.fail("password", "password or password_file");
    if (!config.bearer.empty()) section.fail("login", "either login or bearer, not both");
  }
  config.realm_hosts = section.strings("realm_hosts");
  const std::optional<RedirectRules> rules = RedirectRules::parse(section.strings("redirect_to"));
  if (!rules) section.fail("redirect_to", "host names and networks, such as 10.0.0.0/8");
  config.redirects = *rules;
}

size_t count(const base::Section& section, std::string_view key, size_t fallback, size_t min) {
  constexpr int64_t kMostCounted = 1'000'000;
  return static_cast<size_t>(section.integer(key, static_cast<int64_t>(fallback),
                                             static_cast<int64_t>(min), kMostCounted));
}

void read_failover(const base::Section& section, UpstreamConfig& config) {
  const base::Section retry = section.section("retry");
  config.rounds = count(retry, "rounds", config.rounds, 1);
  config.round_delay = retry.duration("delay", config.round_delay);
  config.retry_percent = count(retry, "percent", config.retry_percent, 0);
  config.retry_floor = count(retry, "floor", config.retry_floor, 0);

  const base::Section eject = section.section("eject");
  config.eject_after = count(eject, "after", config.eject_after, 1);
  config.eject_time = eject.duration("time", config.eject_time);
  config.eject_time_max = eject.duration("time_max", config.eject_time_max);

  using HealthCheck = UpstreamConfig::HealthCheck;
  const base::Section health = section.section("health");
  const std::string check = health.choice("check", {"off", "ejected", "always"}, "ejected");
  config.health_check = check == "off"      ? HealthCheck::off
                        : check == "always" ? HealthCheck::always
                                            : HealthCheck::ejected;
  config.health_interval = health.duration("interval", config.health_interval);
  if (config.health_interval < std::chrono::seconds(1)) {
    health.fail("interval", "a duration of at least 1s");
  }

  config.max_requests = count(section, "max_requests", config.max_requests, 1);
  config.max_queue = count(section, "max_queue", config.max_queue, 0);
  config.queue_timeout = section.duration("queue_timeout", config.queue_timeout);
  config.absent_lifetime = section.duration("absent_lifetime", config.absent_lifetime);
  config.retry_after_max = section.duration("retry_after_max", config.retry_after_max);
}

ImagesConfig read_images(const base::Section& section) {
  ImagesConfig config;
  config.tag_lifetime = section.duration("tag_lifetime", config.tag_lifetime);
  config.stale_after = section.duration("stale_after", config.stale_after);
  config.stale_if_error = section.duration("stale_if_error", config.stale_if_error);
  config.follow_deletions = section.boolean("follow_deletions", config.follow_deletions);
  config.prefetch = section.boolean("prefetch", config.prefetch);
  for (const std::string& text : section.strings("platforms")) {
    const auto platform = oci::parse_platform(text);
    if (!platform) {
      section.fail("platforms", "a list of <os>/<architecture>[/<variant>], such as [linux/amd64]");
    }
    config.platforms.push_back(*platform);
  }
  return config;
}

}  // namespace

UpstreamConfig read_upstream(const base::Section& section) {
  UpstreamConfig config;
  for (std::string& url : section.strings("urls")) {
    config.urls.push_back(base_url(section, std::move(url)));
  }
  if (config.urls.empty()) {
    section.fail("urls", "a list of URLs, such as [https://registry.example]");
  }
  if (config.urls.size() > kMaxUrls) section.fail("urls", "at most 64 URLs");
  config.name = section.string("name", host_of(config.urls.front()));
  config.namespaces = section.strings("namespaces");
  config.hosts = section.strings("hosts");
  config.prefix = section.string("prefix");
  if (!config.prefix.empty() && !oci::valid_repository(config.prefix)) {
    section.fail("prefix", "the beginning of a repository's name, such as fedora");
  }
  config.ns = section.string("ns");
  config.images = section.boolean("images", false);
  config.image = read_images(section);
  read_credentials(section, config);

  read_failover(section, config);

  http::ClientOptions& client = config.client;
  client.user_agent = "entrepot-edge/" ENTREPOT_VERSION;
  client.ca_file = section.string("ca");
  client.certificate = section.string("certificate");
  client.key = section.string("key");
  if (client.certificate.empty() != client.key.empty()) {
    section.fail("certificate", "certificate and key together");
  }
  client.max_connections = config.max_requests;  // who waits does so for a slot
  client.http2 = section.boolean("http2", client.http2);
  client.connect_timeout = section.duration("connect_timeout", client.connect_timeout);
  client.first_byte_timeout = section.duration("first_byte_timeout", client.first_byte_timeout);
  client.stall_timeout = section.duration("stall_timeout", client.stall_timeout);
  return config;
}

}  // namespace proxy

#include "proxy/upstream_config.h"

#include "http/server_config.h"
#include "oci/name.h"

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

std::string host_of(const std::string& url) {
  const std::string host = url.substr(url.find("://") + 3);
  return host.substr(0, host.find('/'));
}

oci::Platform platform(const base::Section& section, const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == text.size() ||
      text.find('/', slash + 1) != std::string::npos) {
    section.fail("platforms", "a list of <os>/<architecture>, such as [linux/amd64]");
  }
  return {.architecture = text.substr(slash + 1), .os = text.substr(0, slash)};
}

ImagesConfig read_images(const base::Section& section) {
  ImagesConfig config;
  config.tag_lifetime = section.duration("tag_lifetime", config.tag_lifetime);
  config.stale_after = section.duration("stale_after", config.stale_after);
  config.stale_if_error = section.duration("stale_if_error", config.stale_if_error);
  config.follow_deletions = section.boolean("follow_deletions", config.follow_deletions);
  config.prefetch = section.boolean("prefetch", config.prefetch);
  for (const std::string& text : section.strings("platforms")) {
    config.platforms.push_back(platform(section, text));
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
  config.name = section.string("name", host_of(config.urls.front()));
  config.namespaces = section.strings("namespaces");
  config.hosts = section.strings("hosts");
  config.prefix = section.string("prefix");
  if (!config.prefix.empty() && !oci::valid_repository(config.prefix)) {
    section.fail("prefix", "the beginning of a repository's name, such as fedora");
  }
  config.images = section.boolean("images", false);
  config.image = read_images(section);
  config.bearer = http::read_secret(section, "bearer");

  http::ClientOptions& client = config.client;
  client.user_agent = "entrepot-edge/" ENTREPOT_VERSION;
  client.ca_file = section.string("ca");
  client.certificate = section.string("certificate");
  client.key = section.string("key");
  if (client.certificate.empty() != client.key.empty()) {
    section.fail("certificate", "certificate and key together");
  }
  client.connect_timeout = section.duration("connect_timeout", client.connect_timeout);
  client.first_byte_timeout = section.duration("first_byte_timeout", client.first_byte_timeout);
  client.stall_timeout = section.duration("stall_timeout", client.stall_timeout);
  return config;
}

}  // namespace proxy

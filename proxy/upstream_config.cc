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

#include "origin/config.h"

#include <glog/logging.h>

#include "base/yaml_config.h"
#include "http/server_config.h"

namespace origin {
namespace {

std::string without_trailing_slash(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  return url;
}

std::string read_url(const base::Section& section, std::string_view key) {
  const std::string url = without_trailing_slash(section.string(key));
  if (!url.empty() && !url.starts_with("https://") && !url.starts_with("http://")) {
    section.fail(key, "a URL that begins with https:// or http://");
  }
  return url;
}

std::vector<Network> read_networks(const base::Section& section, std::string_view key) {
  std::vector<Network> networks;
  for (const std::string& text : section.strings(key)) {
    const auto network = Network::parse(text);
    if (!network) section.fail(key, "networks such as 10.16.169.0/24 or 2001:db8::/32");
    networks.push_back(*network);
  }
  return networks;
}

void read_storage(const base::Section& storage, Config& config) {
  for (const std::string driver : {"azure", "gcs", "inmemory", "oss", "s3", "swift"}) {
    if (storage.has(driver)) storage.fail(driver, "filesystem, the only storage there is");
  }
  const std::string root = storage.section("filesystem").string("rootdirectory");
  config.root = root.empty() ? "/var/lib/registry" : root;
  config.delete_enabled = storage.section("delete").boolean("enabled", false);
  if (storage.section("maintenance").section("readonly").boolean("enabled", false)) {
    storage.fail("maintenance", "no readonly.enabled, which this registry does not have");
  }
}

// Distribution's clientauth. Without it, clientcas asks every client for a certificate.
bool certificate_required(const base::Section& tls) {
  const std::string required = "require-and-verify-client-cert";
  return tls.choice("clientauth", {required, "verify-client-cert-if-given"}, required) == required;
}

void read_http(const base::Section& http, Config& config) {
  config.address = http.required_string("addr");
  config.secret = http::read_secret(http, "secret");
  config.host = read_url(http, "host");
  config.relative_urls = http.boolean("relativeurls", false);
  config.drain_timeout = http.duration("draintimeout", config.drain_timeout);
  const base::Section headers = http.section("headers");
  for (const std::string& name : headers.keys()) {
    for (const std::string& value : headers.strings(name)) config.headers.add(name, value);
  }
  const bool http2 = http::read_http2(http);  // may be there without TLS, and is nothing then
  if (const base::Section tls = http.section("tls"); tls.present()) {
    config.tls = http::read_tls_options(tls);
    config.tls->http2 = http2;
    config.tls->require_client_certificate =
        certificate_required(tls) && !config.tls->client_cas.empty();
  }
}

RedirectConfig read_redirect(const base::Section& section) {
  RedirectConfig redirect;
  redirect.url = read_url(section, "url");
  if (section.present() && redirect.url.empty()) section.fail("url", "the edge's URL");
  redirect.status = section.choice("status", {"302", "307"}, "302") == "307" ? 307 : 302;
  redirect.direct_below = section.size("direct_below", 0);
  const base::Section except = section.section("except");
  redirect.via = except.strings("via");
  redirect.hosts = except.strings("hosts");
  redirect.networks = read_networks(except, "networks");
  redirect.certificates = except.strings("certificates");
  redirect.bearer = http::read_secret(except, "bearer");
  return redirect;
}

void read_server(const base::Section& server, Config& config) {
  config.limits = http::read_server_limits(server);
  config.loops = static_cast<size_t>(server.integer("loops", 0, 0, 1024));
  config.threads = static_cast<size_t>(server.integer("threads", 16, 1, 1024));
  config.trusted_proxies = read_networks(server, "trusted_proxies");
}

}  // namespace

Config read_config(const std::filesystem::path& path) {
  const base::ConfigFile file(path);
  const base::Section root = file.root();
  Config config;
  root.choice("version", {"0.1"}, "0.1");
  if (root.has("auth")) {
    root.fail("auth",
              "no such section: this registry cannot check who asks, so it will not serve "
              "what is meant to be protected");
  }
  const base::Section log = root.section("log");
  config.log_level = http::read_log_level(log);
  config.access_log = !log.section("accesslog").boolean("disabled", false);
  read_storage(root.section("storage"), config);
  read_http(root.section("http"), config);
  config.redirect = read_redirect(root.section("redirect"));
  read_server(root.section("server"), config);
  for (const std::string& warning : file.unread()) LOG(WARNING) << warning;
  return config;
}

}  // namespace origin

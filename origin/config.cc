#include "origin/config.h"

#include <glog/logging.h>

#include "base/yaml_config.h"
#include "http/server_config.h"
#include "origin/config_guards.h"
#include "origin/config_keys.h"

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

UploadPurging read_upload_purging(const base::Section& section) {
  UploadPurging purging;
  purging.enabled = section.boolean("enabled", purging.enabled);
  purging.age = section.duration("age", purging.age);
  purging.interval = section.duration("interval", purging.interval);
  purging.dry_run = section.boolean("dryrun", purging.dry_run);
  if (purging.interval < std::chrono::minutes(1)) {
    section.fail("interval", "at least a minute, such as 24h");
  }
  return purging;
}

void read_storage(const base::Section& storage, Config& config) {
  for (const std::string driver : {"azure", "gcs", "inmemory", "oss", "s3", "swift"}) {
    if (storage.has(driver)) storage.fail(driver, "filesystem, the only storage there is");
  }
  const std::string root = storage.section("filesystem").string("rootdirectory");
  config.root = root.empty() ? "/var/lib/registry" : root;
  config.delete_enabled = storage.section("delete").boolean("enabled", false);
  const base::Section maintenance = storage.section("maintenance");
  config.read_only = maintenance.section("readonly").boolean("enabled", false);
  config.upload_purging = read_upload_purging(maintenance.section("uploadpurging"));
}

void read_page_limits(const base::Section& root, Config& config) {
  constexpr int64_t kMost = 1'000'000;
  config.max_catalog_entries =
      static_cast<size_t>(root.section("catalog").integer("maxentries", 1000, 1, kMost));
  config.max_tags = static_cast<size_t>(root.section("tags").integer("maxtags", 1000, 1, kMost));
}

// The levels of old files are called otherwise; log.level goes before them.
void read_log(const base::Section& root, Config& config) {
  const base::Section log = root.section("log");
  config.log_level =
      http::read_log_level(log.has("level") ? log : root, log.has("level") ? "level" : "loglevel");
  const std::string formatter = log.choice("formatter", {"text", "json", "logstash"}, "text");
  if (formatter == "json") config.log_format.style = base::LogFormat::Style::json;
  if (formatter == "logstash") config.log_format.style = base::LogFormat::Style::logstash;
  const base::Section fields = log.section("fields");
  for (const std::string& name : fields.keys()) {
    config.log_format.fields.emplace_back(name, fields.string(name));
  }
  const base::Section access = log.section("accesslog");
  config.access_log = !access.boolean("disabled", false);
  config.access_format = http::read_access_format(access);
}

void refuse_middleware(const base::Section& middleware) {
  for (const std::string kind : {"registry", "repository", "storage"}) {
    for (const base::Section& one : middleware.sections(kind)) {
      one.string("name");
      if (!one.boolean("disabled", false)) {
        one.fail("name", std::string(find_config_key("middleware." + kind + "[0]")->note));
      }
    }
  }
}

constexpr const char* kUnknownGuard =
    ": unknown key, in or like a section that says who may do what";

// What nobody asked for is unknown, or known to have no effect, or must not be ignored.
void judge_unread(const base::ConfigFile& file) {
  for (const auto& [where, path] : file.unread()) {
    const ConfigKey* key = find_config_key(path);
    if (key != nullptr && key->use == KeyUse::refused) {
      throw base::ConfigError(where + path + ": " + std::string(key->note));
    }
    if (key == nullptr && guards(path)) throw base::ConfigError(where + path + kUnknownGuard);
    LOG(WARNING) << where << path << ": "
                 << (key == nullptr ? "unknown key, ignored"
                                    : "ignored: " + std::string(key->note));
  }
}

// What comes before /v2/ in every path.
std::string read_prefix(const base::Section& http) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~";
  const std::string prefix = without_trailing_slash(http.string("prefix"));
  if ((!prefix.empty() && prefix.front() != '/') ||
      prefix.find_first_not_of(kAllowed) != std::string::npos) {
    http.fail("prefix", "a path such as /registry/, of letters, digits and -._~");
  }
  return prefix;
}

void read_http(const base::Section& http, Config& config) {
  config.address = http.required_string("addr");
  if (http.choice("net", {"tcp", "unix"}, "tcp") == "unix") config.address.insert(0, "unix:");
  config.prefix = read_prefix(http);
  config.secret = http::read_secret(http, "secret");
  config.host = read_url(http, "host");
  config.relative_urls = http.boolean("relativeurls", false);
  config.drain_timeout = http.duration("draintimeout", config.drain_timeout);
  config.debug = read_debug(http.section("debug"));
  const base::Section headers = http.section("headers");
  for (const std::string& name : headers.keys()) {
    for (const std::string& value : headers.strings(name)) config.headers.add(name, value);
  }
  const bool http2 = http::read_http2(http);  // may be there without TLS, and is nothing then
  if (const base::Section tls = http.section("tls"); tls.present()) {
    if (tls.has("letsencrypt") && !tls.has("certificate")) {
      tls.fail("letsencrypt", "certificate and key: " +
                                  std::string(find_config_key("http.tls.letsencrypt")->note));
    }
    config.tls = http::read_tls_options(tls);
    config.tls->http2 = http2;
    http::read_client_auth(tls, *config.tls);
  }
}

// As in Distribution 3, whose "disabled" is about URLs and the children of indexes, not about
// whether layers are there.
Validation read_validation(const base::Section& section) {
  using Children = Validation::Children;
  Validation validation;
  const base::Section manifests = section.section("manifests");
  const base::Section indexes = manifests.section("indexes");
  const std::string required = indexes.choice("platforms", {"all", "list", "none"}, "all");
  if (required == "list") validation.children = Children::listed;
  if (required == "none") validation.children = Children::none;
  for (const base::Section& platform : indexes.sections("platformlist")) {
    validation.platforms.push_back(
        {platform.required_string("architecture"), platform.required_string("os")});
  }
  if (required == "list" && validation.platforms.empty()) {
    indexes.fail("platformlist", "the platforms that are required, each {architecture: …, os: …}");
  }
  if (const base::Section urls = manifests.section("urls"); urls.present()) {
    validation.urls.emplace(urls);
  }
  if (section.boolean("disabled", false)) {
    validation.children = Children::none;
    validation.urls.reset();
  }
  validation.layers = manifests.section("images").choice("layers", {"all", "none"}, "all") == "all";
  return validation;
}

std::optional<RedirectSignature> read_redirect_signature(const base::Section& section) {
  if (!section.present()) return std::nullopt;
  RedirectSignature signature;
  signature.keys = http::read_signing_keys(section);
  signature.lifetime =
      std::chrono::floor<std::chrono::seconds>(section.duration("lifetime", signature.lifetime));
  if (signature.lifetime < std::chrono::seconds(1)) {
    section.fail("lifetime", "at least a second, such as 20m");
  }
  RedirectSignature::Prefix bits;
  const base::Section prefix = section.section("prefix");
  bits.ipv4 = static_cast<unsigned>(prefix.integer("ipv4", bits.ipv4, 1, 32));
  bits.ipv6 = static_cast<unsigned>(prefix.integer("ipv6", bits.ipv6, 1, 128));
  if (section.choice("scope", {"none", "client"}, "none") == "client") signature.client = bits;
  return signature;
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
  redirect.networks = http::read_networks(except, "networks");
  redirect.certificates = except.strings("certificates");
  redirect.bearer = http::read_secret(except, "bearer");
  if (!redirect.bearer.empty()) http::require_strong(except, "bearer", redirect.bearer);
  redirect.signature = read_redirect_signature(section.section("signature"));
  return redirect;
}

void read_server(const base::Section& server, Config& config) {
  config.limits = http::read_server_limits(server);
  config.drain_delay = server.duration("drain_delay", config.drain_delay);
  config.loops = static_cast<size_t>(server.integer("loops", 0, 0, 1024));
  config.threads = static_cast<size_t>(server.integer("threads", 16, 1, 1024));
}

}  // namespace

Config read_config(const std::filesystem::path& path, const std::vector<std::string>& environment) {
  const Environment overrides = read_environment(environment);
  for (const std::string& name : overrides.unknown) {
    if (variable_guards(name)) throw base::ConfigError(name + kUnknownGuard);
    LOG(WARNING) << name << ": no such key, ignored";
  }
  const base::ConfigFile file(path, overrides.overrides, {"auth", "storage"});
  const base::Section root = file.root();
  Config config;
  root.choice("version", {"0.1"}, "0.1");
  config.auth = auth::read_auth(root);
  read_log(root, config);
  read_storage(root.section("storage"), config);
  refuse_middleware(root.section("middleware"));
  read_page_limits(root, config);
  read_http(root.section("http"), config);
  config.validation = read_validation(root.section("validation"));
  config.health = read_health(root.section("health"));
  config.redirect = read_redirect(root.section("redirect"));
  const bool never = root.section("storage").section("redirect").boolean("disable", false);
  if (never) config.redirect.url.clear();
  config.notifications = read_notifications(root);
  read_server(root.section("server"), config);
  judge_unread(file);
  config.effective = file.effective();
  config.read_paths = file.read_paths();
  return config;
}

void keep_fixed(const Config& in_force, Config& fresh) {
  const auto said = [](const char* key) {
    LOG(WARNING) << key << ": changed in the file, in force after the next start";
  };
  const auto keep = [&said](const auto& value, auto& in_file, const char* key) {
    if (in_file == value) return;
    said(key);
    in_file = value;
  };
  keep(in_force.root, fresh.root, "storage.filesystem.rootdirectory");
  keep(in_force.address, fresh.address, "http.addr");
  keep(in_force.upload_purging, fresh.upload_purging, "storage.maintenance.uploadpurging");
  if (in_force.tls.has_value() != fresh.tls.has_value()) {
    said("http.tls");
    fresh.tls = in_force.tls;
  }
  keep(in_force.secret, fresh.secret, "http.secret");
  keep(in_force.loops, fresh.loops, "server.loops");
  keep(in_force.threads, fresh.threads, "server.threads");
  keep(in_force.debug, fresh.debug, "http.debug");
  keep(in_force.health, fresh.health, "health");
  keep(in_force.notifications, fresh.notifications, "notifications");
}

}  // namespace origin

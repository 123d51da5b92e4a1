#include "origin/config_keys.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/ascii.h"
#include "http/message.h"

namespace origin {
namespace {

using enum KeyUse;

constexpr std::string_view kNoCache = "nothing is cached: the storage is asked each time";
constexpr std::string_view kNoProxy = "a pull-through cache is what entrepot-edge is";
constexpr std::string_view kOnlyFiles = "filesystem is the only storage there is";

constexpr auto kKeys = std::to_array<ConfigKey>({
    {"version", works, "0.1"},

    {"log.level", works, ""},
    {"log.formatter", works, "text, json, logstash"},
    {"log.fields.*", works, "in every message"},
    {"log.accesslog.disabled", works, ""},
    {"log.accesslog.format", ours, "combined, json"},
    {"log.reportcaller", ignored, "text messages always name their place in the source"},
    {"log.hooks[].**", ignored, "no mail is sent; let the journal or a log collector do that"},
    {"loglevel", works, "log.level goes before it"},

    {"storage.filesystem.rootdirectory", works, ""},
    {"storage.filesystem.maxthreads", ignored, "server.threads limits what runs at once"},
    {"storage.azure.**", refused, kOnlyFiles},
    {"storage.gcs.**", refused, kOnlyFiles},
    {"storage.inmemory.**", refused, kOnlyFiles},
    {"storage.oss.**", refused, kOnlyFiles},
    {"storage.s3.**", refused, kOnlyFiles},
    {"storage.swift.**", refused, kOnlyFiles},
    {"storage.delete.enabled", works, ""},
    {"storage.redirect.disable", works, "switches the section redirect off"},
    {"storage.cache.**", ignored, kNoCache},
    {"storage.maintenance.readonly.enabled", works,
     "may change at SIGHUP; the log says when the last write has ended"},
    {"storage.maintenance.uploadpurging.enabled", works, "not while readonly is on"},
    {"storage.maintenance.uploadpurging.age", works, ""},
    {"storage.maintenance.uploadpurging.interval", works, "at least a minute"},
    {"storage.maintenance.uploadpurging.dryrun", works, ""},
    {"storage.tag.concurrencylimit", ignored, "server.threads limits what runs at once"},

    {"auth.none.**", works, ""},
    {"auth.silly.**", refused, "it lets in whoever sends any Authorization at all"},
    {"auth.htpasswd.realm", works, ""},
    {"auth.htpasswd.path", works, "bcrypt only; a missing file is not made, the start fails"},
    {"auth.token.realm", works, ""},
    {"auth.token.service", works, ""},
    {"auth.token.issuer", works, ""},
    {"auth.token.rootcertbundle", works, "keys go by RFC 7638 thumbprint and by libtrust id"},
    {"auth.token.jwks", works, ""},
    {"auth.token.signingalgorithms[]", works, "never HS*, never none"},
    {"auth.token.autoredirect", works, ""},
    {"auth.token.autoredirectpath", works, ""},
    {"access.base", ours, "anonymous, authenticated: who gets 200 from /v2/ itself"},
    {"access.certificates[].subject", ours, "the whole, or one attribute such as CN=builder"},
    {"access.certificates[].san", ours, "a DNS name, email:…, URI:…, IP:…"},
    {"access.certificates[].user", ours, ""},
    {"access.groups.*", ours, "a list of users"},
    {"access.rules[].repositories[]", ours, "globs"},
    {"access.rules[].users[]", ours, ""},
    {"access.rules[].groups[]", ours, ""},
    {"access.rules[].clients", ours, "authenticated, anonymous"},
    {"access.rules[].actions[]", ours, "pull, push, delete"},

    {"middleware.registry[].**", refused, "there is no middleware; what is disabled may stay"},
    {"middleware.repository[].**", refused, "there is no middleware; what is disabled may stay"},
    {"middleware.storage[].**", refused,
     "redirect.url sends downloads elsewhere; what is disabled may stay"},

    {"http.addr", works, ""},
    {"http.net", works, "tcp, unix (addr is a path)"},
    {"http.prefix", works, "may change at SIGHUP"},
    {"http.host", works, ""},
    {"http.secret", works,
     "without it the replicas share one in the storage, if they may write there"},
    {"http.secret_file", ours, "a file with the secret in it"},
    {"http.relativeurls", works, ""},
    {"http.draintimeout", works, "60s unless given"},
    {"http.headers.*", works, ""},
    {"http.debug.addr", works, "/debug/health and the metrics; no /debug/vars, no /debug/pprof"},
    {"http.debug.prometheus.enabled", works, "under Distribution's names, and ours"},
    {"http.debug.prometheus.path", works, ""},
    {"http.tls.certificate", works, "read again at SIGHUP"},
    {"http.tls.key", works, "read again at SIGHUP"},
    {"http.tls.certificates[].certificate", ours,
     "more than the one, for other names; clients get that of the name they ask for"},
    {"http.tls.certificates[].key", ours, ""},
    {"http.tls.clientcas[]", works, ""},
    {"http.tls.clientauth", works,
     "require-and-verify-client-cert, verify-client-cert-if-given; those that do not verify are "
     "refused"},
    {"http.tls.minimumtls", works, "never below tls1.2"},
    {"http.tls.ciphersuites[]", works, ""},
    {"http.tls.letsencrypt.**", refused,
     "certificates come from files; let certbot renew them and send SIGHUP"},
    {"http.http2.disabled", works, ""},
    {"http.h2c.enabled", ignored, "HTTP/2 is spoken over TLS only"},

    {"health.storagedriver.enabled", works, "/healthz goes by this check in any case"},
    {"health.storagedriver.interval", works, ""},
    {"health.storagedriver.threshold", works, ""},
    {"health.storagedriver.timeout", ours, "how long the storage may take to answer"},
    {"health.file[].file", works, ""},
    {"health.file[].interval", works, ""},
    {"health.file[].threshold", works, ""},
    {"health.http[].uri", works, "a user and password in it are sent, and hidden in what is shown"},
    {"health.http[].headers.*", works, ""},
    {"health.http[].statuscode", works, ""},
    {"health.http[].timeout", works, ""},
    {"health.http[].interval", works, ""},
    {"health.http[].threshold", works, ""},
    {"health.tcp[].addr", works, ""},
    {"health.tcp[].timeout", works, ""},
    {"health.tcp[].interval", works, ""},
    {"health.tcp[].threshold", works, ""},
    {"catalog.maxentries", works, ""},
    {"tags.maxtags", works, ""},
    {"validation.enabled", ignored, "as in Distribution, where validation.disabled decides"},
    {"validation.disabled", works,
     "as Distribution 3: an index's children need not be there, layers may have any URLs"},
    {"validation.manifests.urls.allow[]", works,
     "RE2; without the section urls, layers may have any URLs, in Distribution none"},
    {"validation.manifests.urls.deny[]", works, "RE2"},
    {"validation.manifests.indexes.platforms", works, "all, list, none"},
    {"validation.manifests.indexes.platformlist[].architecture", works, ""},
    {"validation.manifests.indexes.platformlist[].os", works, ""},
    {"validation.manifests.images.layers", ours, "all, none"},
    {"notifications.events.includereferences", works, ""},
    {"notifications.queue.directory", ours, "of this process alone; /var/lib/entrepot/events"},
    {"notifications.queue.limit", ours, "bytes for each endpoint; beyond it the oldest are lost"},
    {"notifications.endpoints[].name", works, ""},
    {"notifications.endpoints[].disabled", works, ""},
    {"notifications.endpoints[].url", works, ""},
    {"notifications.endpoints[].headers.*", works, ""},
    {"notifications.endpoints[].timeout", works, ""},
    {"notifications.endpoints[].threshold", works, ""},
    {"notifications.endpoints[].backoff", works, "grows up to a minute"},
    {"notifications.endpoints[].ignoredmediatypes[]", works, ""},
    {"notifications.endpoints[].ignore.mediatypes[]", works, ""},
    {"notifications.endpoints[].ignore.actions[]", works, ""},
    {"redis.**", ignored, kNoCache},
    {"proxy.**", refused, kNoProxy},
    {"policy.repository.classes[]", refused, "there are no repository classes"},
    {"compatibility.schema1.**", ignored,
     "schema 1 cannot be pushed; what the storage holds of it stays readable"},
    {"reporting.**", ignored, "nothing is reported to anybody"},

    {"redirect.url", ours, "the edge's URL; without it blobs are served here"},
    {"redirect.status", ours, "302, 307"},
    {"redirect.direct_below", ours, "smaller blobs are served here"},
    {"redirect.except.via[]", ours, ""},
    {"redirect.except.hosts[]", ours, ""},
    {"redirect.except.networks[]", ours, ""},
    {"redirect.except.certificates[]", ours,
     "a subject, an attribute of it, or a SAN as in access.certificates"},
    {"redirect.except.bearer", ours, "the secret that the edge shows; at least 16 characters"},
    {"redirect.except.bearer_file", ours, ""},
    {"redirect.signature.keys[].id", ours, "the first key signs; the edge must know it"},
    {"redirect.signature.keys[].secret", ours, ""},
    {"redirect.signature.keys[].secret_file", ours, ""},
    {"redirect.signature.lifetime", ours, "of the URL that a client is sent to"},
    {"redirect.signature.scope", ours, "none, client: who may use it"},
    {"redirect.signature.prefix.ipv4", ours, "bits of the client's address, with scope: client"},
    {"redirect.signature.prefix.ipv6", ours, ""},

    {"server.loops", ours, "event loops; 0 is one per core"},
    {"server.threads", ours,
     "for disk and other blocking work; lists have a quarter as many for themselves, and so has "
     "what reads whole blobs"},
    {"server.max_connections", ours, ""},
    {"server.max_requests", ours, ""},
    {"server.max_header", ours, ""},
    {"server.header_timeout", ours, ""},
    {"server.idle_timeout", ours, ""},
    {"server.body_timeout", ours, ""},
    {"server.min_body_rate", ours, "bytes a second of a request's body over body_timeout"},
    {"server.send_timeout", ours, ""},
    {"server.min_send_rate", ours, "bytes a second that a client takes over send_timeout"},
    {"server.per_address.connections", ours, "of one client address"},
    {"server.per_address.in_flight", ours, "requests; half of max_requests; more get 429"},
    {"server.per_address.requests", ours, "a second; more get 429"},
    {"server.per_address.burst", ours, "requests at once"},
    {"server.per_address.except[]", ours, "networks without these limits"},
    {"server.bandwidth.connection", ours, "bytes a second"},
    {"server.bandwidth.total", ours, "bytes a second"},
    {"server.drain_delay", ours, "how long /healthz says 503 before the drain begins"},
    {"server.trusted_proxies[]", ours,
     "networks whose X-Forwarded-For names the client; unix: who comes by the unix socket"},
});

// Takes the first key off a path of the table: "clientcas[].x" gives "clientcas" and leaves "[].x".
std::string_view take_key(std::string_view& path) {
  if (path.starts_with("[]")) {
    path.remove_prefix(path.starts_with("[].") ? 3 : 2);
    return "[]";
  }
  const size_t end = std::min(path.find_first_of(".["), path.size());
  const std::string_view key = path.substr(0, end);
  path.remove_prefix(end);
  if (path.starts_with('.')) path.remove_prefix(1);
  return key;
}

std::vector<std::string_view> keys_of(std::string_view path) {
  std::vector<std::string_view> keys;
  while (!path.empty()) keys.push_back(take_key(path));
  return keys;
}

// "clientcas[0]" as "clientcas[]".
std::string without_numbers(std::string_view path) {
  std::string out;
  bool inside = false;
  for (const char c : path) {
    if (c == ']') inside = false;
    if (!inside) out += c;
    if (c == '[') inside = true;
  }
  return out;
}

bool covers(std::string_view pattern, std::string_view path) {
  const auto wanted = keys_of(pattern);
  const auto given = keys_of(path);
  for (size_t i = 0; i < given.size(); ++i) {
    if (i == wanted.size()) return false;
    if (wanted[i] == "**") return true;
    if (wanted[i] != "*" && wanted[i] != given[i]) return false;
  }
  return true;
}

// The words of an environment variable as a path through `pattern`, however little of it they use.
// A key's own '_' separates words too; the pattern tells which is which.
std::optional<std::vector<std::string>> match(const std::vector<std::string>& words,
                                              std::string_view pattern) {
  std::vector<std::string> path;
  size_t at = 0;
  const auto keys = keys_of(pattern);
  for (size_t k = 0; at < words.size(); ++k) {
    if (k == keys.size()) return std::nullopt;
    if (keys[k] == "**") {
      path.insert(path.end(), words.begin() + static_cast<std::ptrdiff_t>(at), words.end());
      return path;
    }
    std::string word = words[at++];
    const bool number = !word.empty() && word.find_first_not_of("0123456789") == word.npos;
    if (keys[k] == "[]" ? !number : number) return std::nullopt;
    if (keys[k] != "[]" && keys[k] != "*") {
      while (word.size() < keys[k].size() && at < words.size()) word += '_' + words[at++];
      if (word != keys[k]) return std::nullopt;
    }
    path.push_back(std::move(word));
  }
  return path;
}

std::vector<std::string> lower_words(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (c == '_') {
      words.emplace_back();
    } else {
      words.back() += base::to_lower(c);
    }
  }
  return words;
}

std::string_view use_text(KeyUse use) {
  switch (use) {
    case works:
      return "works";
    case ignored:
      return "ignored";
    case refused:
      return "refused";
    case ours:
      return "ours";
  }
  return "";
}

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

const ConfigKey* find_config_key(std::string_view path) {
  const std::string wanted = without_numbers(path);
  const auto found =
      std::ranges::find_if(kKeys, [&](const ConfigKey& key) { return covers(key.path, wanted); });
  return found == kKeys.end() ? nullptr : &*found;
}

Environment read_environment(const std::vector<std::string>& environment) {
  constexpr std::string_view kPrefix = "REGISTRY_";
  Environment out;
  for (const std::string& variable : environment) {
    const size_t equals = std::min(variable.find('='), variable.size());
    const std::string name = variable.substr(0, equals);
    if (!name.starts_with(kPrefix) || name == "REGISTRY_CONFIGURATION_PATH") continue;
    const std::vector<std::string> words = lower_words(name.substr(kPrefix.size()));
    std::optional<std::vector<std::string>> path;
    for (const ConfigKey& key : kKeys) {
      path = match(words, key.path);
      if (path) break;
    }
    if (path && name != "REGISTRY_VERSION") {
      out.overrides.push_back(
          {name, std::move(*path), variable.substr(std::min(equals + 1, variable.size()))});
    } else {
      out.unknown.push_back(name);
    }
  }
  std::ranges::sort(out.overrides, {}, &base::Override::source);
  return out;
}

std::string config_keys_markdown() {
  std::string text =
      "# Keys of the origin's configuration file\n"
      "\n"
      "Made by `entrepot-origin config keys`. *works*: as in Distribution, or as said. *ignored*: "
      "accepted, without effect, with a warning at start. *refused*: the registry does not start "
      "with it. *ours*: not a key of Distribution's. `[]` is any element of a list, `*` any one "
      "key, `**` all that is below.\n"
      "\n"
      "| key | | |\n"
      "|---|---|---|\n";
  for (const ConfigKey& key : kKeys) {
    text.append("| `").append(key.path).append("` | ").append(use_text(key.use)).append(" | ");
    text.append(key.note).append(" |\n");
  }
  return text;
}

}  // namespace origin

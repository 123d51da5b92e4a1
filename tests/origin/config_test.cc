#include "origin/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/yaml_config.h"
#include "tests/support/log_capture.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using std::chrono_literals::operator""s;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class ConfigTest : public ::testing::Test {
 protected:
  Config read(std::string_view text) { return read_config(dir_.write("config.yml", text)); }
  std::string error(std::string_view text) {
    try {
      read(text);
    } catch (const base::ConfigError& e) {
      return e.what();
    }
    return "no error";
  }
  test::TempDir dir_;
};

TEST_F(ConfigTest, FedorasFile) {
  const Config config = read(R"(
version: 0.1
log:
  fields:
    service: registry
storage:
  filesystem:
    rootdirectory: /srv/registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    Vary: [Accept]
)");
  EXPECT_EQ(config.root, "/srv/registry");
  EXPECT_TRUE(config.delete_enabled);
  EXPECT_EQ(config.address, ":5000");
  EXPECT_EQ(config.headers.get("Vary"), "Accept");
  EXPECT_FALSE(config.tls);
  EXPECT_EQ(config.secret, "");
  EXPECT_EQ(config.redirect.url, "");
  EXPECT_TRUE(config.access_log);
}

constexpr const char* kSigned = R"(
http: {addr: ':1'}
redirect:
  url: https://cdn.example
  signature:
    lifetime: 90s
    keys: [{id: new, secret: 0123456789abcdef}, {id: old, secret_file: SECRET}]
)";

TEST_F(ConfigTest, SignedRedirects) {
  const std::filesystem::path file = dir_.write("key", "fedcba9876543210\n");
  std::string text = kSigned;
  text.replace(text.find("SECRET"), 6, file.string());
  const Config config = read(text);
  ASSERT_TRUE(config.redirect.signature);
  const RedirectSignature& signature = *config.redirect.signature;
  EXPECT_EQ(signature.keys, (std::vector<http::SigningKey>{{"new", "0123456789abcdef"},
                                                           {"old", "fedcba9876543210"}}));
  EXPECT_EQ(signature.lifetime, 90s);
  EXPECT_FALSE(signature.client);
  EXPECT_THAT(config.effective, HasSubstr("id: new"));
  EXPECT_THAT(config.effective, Not(HasSubstr("0123456789abcdef")));

  const Config scoped = read(text + "    scope: client\n    prefix: {ipv4: 24}\n");
  ASSERT_TRUE(scoped.redirect.signature->client);
  EXPECT_EQ(scoped.redirect.signature->client->ipv4, 24U);
  EXPECT_EQ(scoped.redirect.signature->client->ipv6, 64U);
}

TEST_F(ConfigTest, MistakesInSignedRedirects) {
  const auto with = [this](const std::string& signature) {
    return error("http: {addr: ':1'}\nredirect: {url: 'https://c', signature: {" + signature +
                 "}}\n");
  };
  EXPECT_THAT(with("lifetime: 1m"), HasSubstr("redirect.signature.keys"));
  EXPECT_THAT(with("keys: [{secret: 0123456789abcdef}]"), HasSubstr("keys[0].id"));
  EXPECT_THAT(with("keys: [{id: 'a b', secret: 0123456789abcdef}]"), HasSubstr("letters"));
  EXPECT_THAT(with("keys: [{id: a}]"), HasSubstr("keys[0].secret: expected at least 16"));
  EXPECT_THAT(with("keys: [{id: a, secret: short}]"),
              testing::AllOf(HasSubstr("at least 16"), Not(HasSubstr("short"))));
  EXPECT_THAT(with("keys: [{id: a, secret: 0123456789abcdef, secret_file: f}]"),
              testing::AllOf(HasSubstr("not both"), Not(HasSubstr("0123456789abcdef"))));
  EXPECT_THAT(with("keys: [{id: a, secret: 0123456789abcdef}, {id: a, secret: 0123456789abcdeg}]"),
              HasSubstr("keys[1].id"));
  EXPECT_THAT(with("lifetime: 10ms, keys: [{id: a, secret: 0123456789abcdef}]"),
              HasSubstr("at least a second"));
  EXPECT_THAT(with("prefix: {ipv4: 33}, keys: [{id: a, secret: 0123456789abcdef}]"),
              HasSubstr("prefix.ipv4"));
}

TEST_F(ConfigTest, TheEdgesSecretIsAsLongAsAKey) {
  const std::string redirect = "http: {addr: ':1'}\nredirect: {url: 'https://c', except: {";
  EXPECT_THAT(
      error(redirect + "bearer: short}}\n"),
      AllOf(HasSubstr("redirect.except.bearer: expected at least 16"), Not(HasSubstr("short"))));
  const std::string file = dir_.write("secret", "short\n").string();
  EXPECT_THAT(error(redirect + "bearer_file: " + file + "}}\n"),
              HasSubstr("redirect.except.bearer_file: expected at least 16"));
  EXPECT_EQ(error(redirect + "bearer: ''}}\n"), "no error");
}

TEST_F(ConfigTest, EverythingSet) {
  const Config config = read(R"(
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
http:
  addr: 127.0.0.1:5000
  secret: s3cret
  host: https://registry.example/
  relativeurls: true
  draintimeout: 5s
  http2: {disabled: true}
  tls: {certificate: c.pem, key: k.pem, clientcas: [ca.pem], clientauth: verify-client-cert-if-given}
redirect:
  url: https://cdn.example/
  status: 307
  direct_below: 64KiB
  except:
    via: [cloudfront]
    hosts: [direct.example]
    networks: [10.0.0.0/8]
    certificates: ["CN=edge"]
    bearer: 0123456789abcdef
server: {loops: 2, threads: 3, trusted_proxies: [127.0.0.0/8, unix], max_header: 32KiB}
)");
  EXPECT_EQ(config.host, "https://registry.example");
  EXPECT_EQ(config.secret, "s3cret");
  EXPECT_TRUE(config.relative_urls);
  EXPECT_EQ(config.drain_timeout, 5s);
  ASSERT_TRUE(config.tls);
  EXPECT_FALSE(config.tls->require_client_certificate);
  EXPECT_FALSE(config.tls->http2);
  EXPECT_EQ(config.redirect.url, "https://cdn.example");
  EXPECT_EQ(config.redirect.status, 307);
  EXPECT_EQ(config.redirect.direct_below, 65536U);
  EXPECT_EQ(config.redirect.via.size(), 1U);
  EXPECT_EQ(config.redirect.networks.size(), 1U);
  EXPECT_EQ(config.redirect.bearer, "0123456789abcdef");
  EXPECT_EQ(config.limits.max_header_bytes, 32768U);
  EXPECT_EQ(config.loops, 2U);
  EXPECT_EQ(config.threads, 3U);
  EXPECT_EQ(config.limits.trusted_proxies.networks.size(), 1U);
  EXPECT_TRUE(config.limits.trusted_proxies.unix_socket);
  EXPECT_FALSE(config.access_log);
  EXPECT_FALSE(config.delete_enabled);
  EXPECT_EQ(config.root, "/var/lib/registry");
}

TEST_F(ConfigTest, ClientCertificatesAreRequiredUnlessSaidOtherwise) {
  const Config config =
      read("http: {addr: ':1', tls: {certificate: c.pem, key: k.pem, clientcas: [ca.pem]}}\n");
  EXPECT_TRUE(config.tls->require_client_certificate);
  EXPECT_TRUE(config.tls->http2);
}

TEST_F(ConfigTest, WhatAManifestNeeds) {
  const auto validation = [this](const std::string& text) {
    return read("http: {addr: ':1'}\nvalidation: " + text + "\n").validation;
  };
  using Children = Validation::Children;
  EXPECT_EQ(validation("{}").children, Children::all);
  EXPECT_TRUE(validation("{}").layers);
  EXPECT_EQ(validation("{disabled: true}").children, Children::none);
  EXPECT_TRUE(validation("{disabled: true}").layers);
  EXPECT_EQ(validation("{manifests: {indexes: {platforms: none}}}").children, Children::none);
  EXPECT_FALSE(validation("{manifests: {images: {layers: none}}}").layers);
  EXPECT_FALSE(validation("{}").urls);
  EXPECT_TRUE(validation("{manifests: {urls: {deny: [x]}}}").urls);
  EXPECT_FALSE(validation("{disabled: true, manifests: {urls: {deny: [x]}}}").urls);
  const Validation listed = validation(
      "{manifests: {indexes: {platforms: list, platformlist: [{architecture: arm64, os: "
      "linux}]}}}");
  EXPECT_EQ(listed.children, Children::listed);
  EXPECT_EQ(listed.platforms, (std::vector<oci::Platform>{{"arm64", "linux"}}));
}

TEST_F(ConfigTest, UrlsOfLayers) {
  const auto allows = [this](const std::string& rules, const std::string& url) {
    return read("http: {addr: ':1'}\nvalidation: {manifests: {urls: " + rules + "}}\n")
        .validation.urls->allows(url);
  };
  // The example of Distribution's manual.
  const std::string rules =
      R"({allow: ['^https?://([^/]+\.)*example\.com/'], deny: ['^https?://www\.example\.com/']})";
  EXPECT_TRUE(allows(rules, "https://example.com/layer"));
  EXPECT_TRUE(allows(rules, "http://a.example.com/"));
  EXPECT_FALSE(allows(rules, "https://www.example.com/"));
  EXPECT_FALSE(allows(rules, "https://example.org/example.com/"));
  EXPECT_FALSE(allows(rules, "https://example.com/#layer"));

  // An expression may match anywhere, one of a list is enough.
  EXPECT_TRUE(allows("{allow: [no, layer]}", "https://example.com/layer"));
  EXPECT_FALSE(allows("{deny: [no, layer]}", "https://example.com/layer"));
  EXPECT_TRUE(allows("{deny: [layer]}", "HTTPS://example.com/"));
  for (const char* url : {"ftp://example.com/", "https://", "example.com", "", "https://a b",
                          "https://example.com/\n", "https:example.com"}) {
    EXPECT_FALSE(allows("{deny: [layer]}", url)) << url;
  }
  EXPECT_FALSE(allows("{allow: []}", "https://example.com/"));
}

TEST_F(ConfigTest, ReadOnlyAndPageLimits) {
  const Config defaults = read("http: {addr: ':1'}\n");
  EXPECT_FALSE(defaults.read_only);
  EXPECT_EQ(defaults.max_catalog_entries, 1000U);
  EXPECT_EQ(defaults.max_tags, 1000U);
  const Config set = read(R"(
http: {addr: ':1'}
storage: {maintenance: {readonly: {enabled: true}}}
catalog: {maxentries: 5}
tags: {maxtags: 7}
)");
  EXPECT_TRUE(set.read_only);
  EXPECT_EQ(set.max_catalog_entries, 5U);
  EXPECT_EQ(set.max_tags, 7U);
}

TEST_F(ConfigTest, SocketAndPrefix) {
  const Config config = read("http: {addr: /run/registry.sock, net: unix, prefix: /a/b/}\n");
  EXPECT_EQ(config.address, "unix:/run/registry.sock");
  EXPECT_EQ(config.prefix, "/a/b");
  EXPECT_EQ(read("http: {addr: ':1', prefix: /}\n").prefix, "");
  EXPECT_THAT(error("http: {addr: ':1', prefix: a}\n"), HasSubstr("/registry/"));
  EXPECT_THAT(error("http: {addr: ':1', prefix: '/a b'}\n"), HasSubstr("/registry/"));
  EXPECT_THAT(error("http: {addr: ':1', net: udp}\n"), HasSubstr("unix"));
}

TEST_F(ConfigTest, UploadPurging) {
  const UploadPurging defaults = read("http: {addr: ':1'}\n").upload_purging;
  EXPECT_TRUE(defaults.enabled);
  EXPECT_EQ(defaults.age, std::chrono::hours(168));
  EXPECT_EQ(defaults.interval, std::chrono::hours(24));
  EXPECT_FALSE(defaults.dry_run);
  const UploadPurging set = read(R"(
http: {addr: ':1'}
storage: {maintenance: {uploadpurging: {enabled: false, age: 1h, interval: 2h, dryrun: true}}}
)")
                                .upload_purging;
  EXPECT_FALSE(set.enabled);
  EXPECT_EQ(set.age, std::chrono::hours(1));
  EXPECT_EQ(set.interval, std::chrono::hours(2));
  EXPECT_TRUE(set.dry_run);
  EXPECT_THAT(
      error("http: {addr: ':1'}\nstorage: {maintenance: {uploadpurging: {interval: 0s}}}\n"),
      HasSubstr("interval"));
}

TEST_F(ConfigTest, MistakesAreNamed) {
  EXPECT_THAT(error("version: 0.1\n"), HasSubstr("addr"));
  EXPECT_THAT(error("version: 0.2\nhttp: {addr: ':1'}\n"), HasSubstr("version"));
  EXPECT_THAT(error("http: {addr: ':1'}\nstorage: {s3: {bucket: b}}\n"), HasSubstr("filesystem"));
  EXPECT_THAT(error("http: {addr: ':1'}\nauth: {htpasswd: {path: p}}\n"), HasSubstr("auth"));
  EXPECT_THAT(error("http: {addr: ':1'}\nredirect: {status: 302}\n"), HasSubstr("url"));
  EXPECT_THAT(error("http: {addr: ':1'}\nredirect: {url: cdn.example}\n"), HasSubstr("https://"));
  EXPECT_THAT(error("http: {addr: ':1'}\nredirect: {url: 'https://c', status: 301}\n"),
              HasSubstr("307"));
  EXPECT_THAT(error("http: {addr: ':1'}\nserver: {trusted_proxies: [proxy.example]}\n"),
              HasSubstr("10.16.169.0/24"));
  EXPECT_THAT(error("http: {addr: ':1'}\nvalidation: {manifests: {indexes: {platforms: list}}}\n"),
              HasSubstr("architecture"));
  EXPECT_THAT(
      error("http: {addr: ':1'}\nvalidation: {manifests: {urls: {allow: [ok], deny: ['(']}}}\n"),
      AllOf(HasSubstr("config.yml:2:"), HasSubstr("validation.manifests.urls.deny"),
            HasSubstr("missing )")));
  EXPECT_THAT(error("http: {addr: ':1'}\ncatalog: {maxentries: 0}\n"), HasSubstr("maxentries"));
}

// One for each key that a running registry cannot take over.
TEST_F(ConfigTest, WhatTakesANewStartIsSaid) {
  const auto said = [this](const std::string& http, const std::string& sections) {
    const Config in_force = read("http: {addr: ':1'}\n");
    Config fresh = read("http: {addr: ':1'" + http + "}\n" + sections + "\n");
    test::LogCapture log;
    keep_fixed(in_force, fresh);
    std::string text = log.text();
    keep_fixed(in_force, fresh);
    EXPECT_EQ(log.text(), text) << "it is what is in force, and the file is compared with that";
    return text;
  };
  EXPECT_EQ(said("", "catalog: {maxentries: 5}"), "");
  const char* rest = ": changed in the file, in force after the next start\n";
  EXPECT_EQ(said(", debug: {addr: ':2'}", ""), std::string("http.debug") + rest);
  EXPECT_EQ(said(", debug: {prometheus: {enabled: true}}", ""), std::string("http.debug") + rest);
  for (const char* health : {"storagedriver: {enabled: true}", "file: [{file: /f}]",
                             "http: [{uri: 'http://h'}]", "tcp: [{addr: 'h:1'}]"}) {
    EXPECT_EQ(said("", std::string("health: {") + health + "}"), std::string("health") + rest);
  }
  EXPECT_EQ(said("", "storage: {filesystem: {rootdirectory: /r}}"),
            std::string("storage.filesystem.rootdirectory") + rest);
  EXPECT_EQ(said("", "server: {loops: 7}"), std::string("server.loops") + rest);
  EXPECT_EQ(said(", secret: s3cret", ""), std::string("http.secret") + rest);
}

TEST_F(ConfigTest, Notifications) {
  const NotificationsConfig config = read(R"(
version: 0.1
http: {addr: ":5000"}
notifications:
  events: {includereferences: true}
  queue: {directory: /var/spool/events, limit: 1MiB}
  endpoints:
    - name: one
      url: https://listener.example/callback
      headers: {Authorization: [Bearer s3cret], X-Two: [a, b]}
      timeout: 500ms
      threshold: 5
      backoff: 2s
      ignoredmediatypes: [a/b]
      ignore: {mediatypes: [c/d], actions: [pull]}
    - {name: two, url: "http://[::1]:80/", timeout: 0, threshold: -1, backoff: 0}
    - {name: three, url: "http://c.example", disabled: true}
)")
                                         .notifications;
  EXPECT_TRUE(config.include_references);
  EXPECT_EQ(config.queue_directory, "/var/spool/events");
  EXPECT_EQ(config.queue_limit, 1U << 20);
  ASSERT_EQ(config.endpoints.size(), 2U);
  const EndpointConfig& one = config.endpoints[0];
  EXPECT_EQ(one.name, "one");
  EXPECT_EQ(one.url, "https://listener.example/callback");
  EXPECT_EQ(one.headers.get("Authorization"), "Bearer s3cret");
  EXPECT_EQ(one.headers.joined("X-Two"), "a, b");
  EXPECT_EQ(one.timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(one.threshold, 5U);
  EXPECT_EQ(one.backoff, 2s);
  EXPECT_EQ(one.ignored_media_types, (std::vector<std::string>{"c/d", "a/b"}));
  EXPECT_EQ(one.ignored_actions, std::vector<std::string>{"pull"});
  EXPECT_EQ(config.endpoints[1].timeout, 1s);
  EXPECT_EQ(config.endpoints[1].threshold, 10U);
  EXPECT_EQ(config.endpoints[1].backoff, 1s);
}

TEST_F(ConfigTest, NotificationsThatAreWrong) {
  const auto wrong = [this](const std::string& endpoints) {
    return error("version: 0.1\nhttp: {addr: ':5000'}\nnotifications:\n  endpoints: [" + endpoints +
                 "]\n");
  };
  EXPECT_THAT(wrong("{name: a}"), HasSubstr("config.yml:4:15: notifications.endpoints[0].url"));
  EXPECT_THAT(wrong("{url: 'http://a'}"), HasSubstr("notifications.endpoints[0].name"));
  EXPECT_THAT(wrong("{name: .., url: 'http://a'}"), HasSubstr("a name of at most 64"));
  EXPECT_THAT(wrong("{name: a, url: 'ftp://a'}"), HasSubstr("begins with https:// or http://"));
  EXPECT_THAT(wrong("{name: a, url: 'http://a'}, {name: a, url: 'http://b'}"),
              HasSubstr("endpoints[1].name: expected a name that no other endpoint has"));
  const std::string header = wrong(R"({name: a, url: 'http://a', headers: {X: ["s3cret\n"]}})");
  EXPECT_THAT(header, HasSubstr("notifications.endpoints[0].headers: expected values of one line"));
  EXPECT_THAT(header, Not(HasSubstr("s3cret")));
}

// Ignored, it would leave open what it is to close.
TEST_F(ConfigTest, AMisspeltKeyThatGuardsIsAMistake) {
  const std::string users = dir_.write("users", "").string();
  for (const std::string& text :
       {std::string("access: {rule: [{allow: [pull]}]}\nhttp: {addr: ':1'}\n"),
        std::string("redirect: {url: 'https://e', excpt: {bearer: x}}\nhttp: {addr: ':1'}\n"),
        "auth: {htpasswd: {realm: a, path: " + users + ", pth: q}}\nhttp: {addr: ':1'}\n",
        std::string("http: {addr: ':1', tls: {certificate: c, key: k, clientca: [x]}}\n")}) {
    EXPECT_THAT(error("storage: {filesystem: {rootdirectory: /r}}\n" + text),
                HasSubstr("unknown key"))
        << text;
  }
}

TEST_F(ConfigTest, AGuardThatIsMisspeltOrMisplacedIsAMistake) {
  for (const char* text : {
           "acces: {rules: []}\nhttp: {addr: ':1'}\n",
           "Access: {rules: []}\nhttp: {addr: ':1'}\n",
           "access:\nrules: []\nhttp: {addr: ':1'}\n",
           "atuh: {htpasswd: {realm: a, path: b}}\nhttp: {addr: ':1'}\n",
           "htttp: {tls: {certificate: c, key: k}}\nhttp: {addr: ':1'}\n",
           "redirect_: {url: 'https://e'}\nhttp: {addr: ':1'}\n",
           "tls: {certificate: c, key: k}\nhttp: {addr: ':1'}\n",
           "http: {addr: ':1', access: {rules: []}}\n",
           "http: {addr: ':1', tsl: {certificate: c, key: k}}\n",
           "http: {addr: ':1', debug: {tls: {certificate: c, key: k}}}\n",
           "http: {addr: ':1'}\nserver: {auth: {htpasswd: {realm: a, path: b}}}\n",
           "http: {addr: ':1'}\nstorage: {redirect: {except: {bearer: x}}}\n",
       }) {
    EXPECT_THAT(error(text), HasSubstr("who may do what")) << text;
  }
  for (const char* text : {"database: {enabled: true}\n", "x-common: {a: 1}\n", "gc: {}\n",
                           "server: {thread: 1}\n", "tag: {maxtags: 1}\n"}) {
    EXPECT_EQ(error(std::string("http: {addr: ':1'}\n") + text), "no error") << text;
  }
}

TEST_F(ConfigTest, SecretsOfHealthChecksAreHidden) {
  const Config config = read(
      "http: {addr: ':1'}\nstorage: {filesystem: {rootdirectory: /r}}\nhealth: {http: [{uri: "
      "'https://a/', headers: {Authorization: [Bearer the-secret]}}]}\n");
  EXPECT_THAT(config.effective, AllOf(HasSubstr("https://a/"), Not(HasSubstr("the-secret"))));
}

TEST_F(ConfigTest, WithoutRedirectsTheEdgeIsKnownStill) {
  const Config config = read(
      "http: {addr: ':1'}\nstorage: {filesystem: {rootdirectory: /r}, redirect: {disable: true}}\n"
      "redirect: {url: 'https://edge', except: {bearer: the-edges-secret}}\n");
  EXPECT_EQ(config.redirect.url, "");
  EXPECT_EQ(config.redirect.bearer, "the-edges-secret");
}

}  // namespace
}  // namespace origin

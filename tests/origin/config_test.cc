#include "origin/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/yaml_config.h"
#include "tests/support/temp_dir.h"

namespace origin {
namespace {

using std::chrono_literals::operator""s;
using ::testing::HasSubstr;

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
    bearer: token
server: {loops: 2, threads: 3, trusted_proxies: [127.0.0.0/8], max_header: 32KiB}
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
  EXPECT_EQ(config.redirect.bearer, "token");
  EXPECT_EQ(config.limits.max_header_bytes, 32768U);
  EXPECT_EQ(config.loops, 2U);
  EXPECT_EQ(config.threads, 3U);
  EXPECT_EQ(config.trusted_proxies.size(), 1U);
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
  EXPECT_THAT(error("http: {addr: ':1'}\nstorage: {maintenance: {readonly: {enabled: true}}}\n"),
              HasSubstr("readonly"));
}

}  // namespace
}  // namespace origin

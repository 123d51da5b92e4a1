// Who is redirected to the edge, and with what URL.
#include "origin/redirect.h"

#include <gtest/gtest.h>

#include "http/request_target.h"

namespace origin {
namespace {

constexpr int64_t kNow = 1'764'080'000;
const oci::Digest kDigest = oci::Digest::of(oci::Algorithm::sha256, "blob");

RedirectConfig fedora() {
  RedirectConfig config;
  config.url = "https://cdn.example";
  config.via = {"cloudfront"};
  config.hosts = {"registry-no-cdn.example"};
  config.networks = {*http::Network::parse("10.16.169.0/24"),
                     *http::Network::parse("2001:db8::/33")};
  config.certificates = {"CN=edge-1", "edge-2.example"};
  config.bearer = "secret";
  return config;
}

struct Case {
  std::string why;
  bool redirected;
  std::string method = "GET";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string address = "192.0.2.1";
  std::string subject = "";
  std::string name = "";
  uint64_t size = 1000;
};

TEST(Redirect, DecisionTable) {
  const std::vector<Case> cases = {
      {"a plain GET", true},
      {"HEAD", false, "HEAD"},
      {"the CDN", false, "GET", {{"Via", "1.1 abc.CloudFront.net (CloudFront)"}}},
      {"the CDN among others", false, "GET", {{"Via", "1.1 a"}, {"Via", "2 x.cloudfront.net"}}},
      {"another proxy", true, "GET", {{"Via", "1.1 squid"}}},
      {"the host without CDN", false, "GET", {{"Host", "Registry-No-CDN.example:443"}}},
      {"the other host", true, "GET", {{"Host", "registry.example"}}},
      {"a longer host", true, "GET", {{"Host", "x.registry-no-cdn.example"}}},
      {"a builder", false, "GET", {}, "10.16.169.77"},
      {"a builder, as a listener for both families sees it",
       false,
       "GET",
       {},
       "::ffff:10.16.169.77"},
      {"a neighbour", true, "GET", {}, "10.16.170.77"},
      {"an IPv6 builder", false, "GET", {}, "2001:db8:7fff::1"},
      {"an IPv6 neighbour", true, "GET", {}, "2001:db8:8000::1"},
      {"the edge by its subject", false, "GET", {}, "192.0.2.1", "CN=edge-1"},
      {"the edge by a part of its subject", false, "GET", {}, "192.0.2.1", "O=Example,CN=edge-1"},
      {"an attribute that only looks so", true, "GET", {}, "192.0.2.1", "O=x\\,CN=edge-1"},
      {"another certificate", true, "GET", {}, "192.0.2.1", "CN=edge-10"},
      {"the edge by its name", false, "GET", {}, "192.0.2.1", "CN=x", "DNS:edge-2.example"},
      {"another kind of name", true, "GET", {}, "192.0.2.1", "CN=x", "URI:edge-2.example"},
      {"the edge by its secret", false, "GET", {{"Authorization", "Bearer secret"}}},
      {"a wrong secret", true, "GET", {{"Authorization", "Bearer secreT"}}},
      {"a longer secret", true, "GET", {{"Authorization", "Bearer secrets"}}},
      {"a user", true, "GET", {{"Authorization", "Basic secret"}}},
      {"a small blob", true, "GET", {}, "192.0.2.1", "", "", 1},
  };
  for (const Case& c : cases) {
    http::Request request;
    request.method = c.method;
    for (const auto& [name, value] : c.headers) request.headers.add(name, value);
    request.client = c.address;
    request.peer.certificate_subject = c.subject;
    if (!c.name.empty()) request.peer.certificate_names = {c.name};
    const auto url = redirect_url(fedora(), request, "a/b", kDigest, c.size, kNow);
    EXPECT_EQ(url.has_value(), c.redirected) << c.why;
    if (url) EXPECT_EQ(*url, "https://cdn.example/v2/a/b/blobs/" + kDigest.str()) << c.why;
  }
}

// A redirect that is signed, and what the edge says of it for a client with this address.
http::SignatureVerdict at_the_edge(const RedirectConfig& config, http::Request request,
                                   const std::string& address, int64_t now) {
  const auto url = redirect_url(config, request, "a/b", kDigest, 1000, kNow);
  if (!url) return http::SignatureVerdict::missing;
  EXPECT_TRUE(url->starts_with("https://cdn.example/v2/a/b/blobs/")) << *url;
  http::Request follow;
  follow.method = "GET";
  http::set_target(url->substr(std::string("https://cdn.example").size()), follow);
  return http::verify_signature(config.signature->keys, follow, address, now);
}

RedirectConfig signing() {
  RedirectConfig config;
  config.url = "https://cdn.example";
  config.signature = RedirectSignature{.keys = {{"new", "new secret"}, {"old", "old secret"}},
                                       .lifetime = std::chrono::minutes(5)};
  return config;
}

TEST(Redirect, SignedForAWhile) {
  using enum http::SignatureVerdict;
  http::Request request;
  request.method = "GET";
  EXPECT_EQ(at_the_edge(signing(), request, "192.0.2.1", kNow + 299), good);
  EXPECT_EQ(at_the_edge(signing(), request, "192.0.2.1", kNow + 300), expired);
  request.query = "ns=example";
  EXPECT_EQ(at_the_edge(signing(), request, "192.0.2.1", kNow), good);
  const std::string url = *redirect_url(signing(), request, "a/b", kDigest, 1000, kNow);
  EXPECT_NE(url.find("?ns=example&entrepot-signature=new~"), std::string::npos) << url;
  request.query = "ns=example&entrepot-signature=of~another~edge";
  EXPECT_EQ(at_the_edge(signing(), request, "192.0.2.1", kNow), good);
}

TEST(Redirect, SignedForTheClientsNetwork) {
  using enum http::SignatureVerdict;
  RedirectConfig config = signing();
  config.signature->client = {.ipv4 = 24, .ipv6 = 64};
  http::Request request;
  request.method = "GET";
  request.client = "192.0.2.1";
  EXPECT_EQ(at_the_edge(config, request, "192.0.2.99", kNow), good);
  EXPECT_EQ(at_the_edge(config, request, "192.0.3.1", kNow), other_client);
  request.client = "2001:db8::1";
  EXPECT_EQ(at_the_edge(config, request, "2001:db8::2", kNow), good);
  EXPECT_EQ(at_the_edge(config, request, "2001:db8:0:1::2", kNow), other_client);
  // Nobody knows where this one comes from: it gets the blob here.
  request.client = "unix";
  EXPECT_FALSE(redirect_url(config, request, "a/b", kDigest, 1000, kNow));
}

TEST(Redirect, NobodyWithoutAnEdge) {
  http::Request request;
  request.method = "GET";
  EXPECT_FALSE(redirect_url({}, request, "a", kDigest, 1, kNow));
}

TEST(Redirect, AnEmptySecretExceptsNobody) {
  RedirectConfig config;
  config.url = "https://cdn.example";
  http::Request request;
  request.method = "GET";
  request.headers.add("Authorization", "Bearer ");
  EXPECT_TRUE(redirect_url(config, request, "a", kDigest, 1, kNow));
}

TEST(Redirect, TheQueryIsKept) {
  http::Request request;
  request.method = "GET";
  request.query = "ns=example&x=%2F";
  EXPECT_EQ(redirect_url(fedora(), request, "a", kDigest, 1, kNow),
            "https://cdn.example/v2/a/blobs/" + kDigest.str() + "?ns=example&x=%2F");
}

TEST(Redirect, BlobsBelowTheLimitAreServedHere) {
  RedirectConfig config = fedora();
  config.direct_below = 100;
  http::Request request;
  request.method = "GET";
  EXPECT_FALSE(redirect_url(config, request, "a", kDigest, 99, kNow));
  EXPECT_TRUE(redirect_url(config, request, "a", kDigest, 100, kNow));
}

}  // namespace
}  // namespace origin

#include "proxy/redirect_rules.h"

#include <gtest/gtest.h>

namespace proxy {
namespace {

TEST(RedirectRules, GlobalAddresses) {
  for (const char* good : {"8.8.8.8", "172.32.0.1", "192.169.0.1", "2600::1", "2a00:1450::1",
                           "::ffff:8.8.8.8", "64:ff9b::808:808"}) {
    EXPECT_TRUE(is_global_address(good)) << good;
  }
  for (const char* bad : {"0.0.0.0",
                          "10.0.0.1",
                          "100.64.0.1",
                          "127.0.0.1",
                          "127.255.0.1",
                          "169.254.169.254",
                          "172.16.0.1",
                          "172.31.255.255",
                          "192.168.1.1",
                          "198.18.0.1",
                          "224.0.0.1",
                          "255.255.255.255",
                          "::",
                          "::1",
                          "::127.0.0.1",
                          "::ffff:127.0.0.1",
                          "::ffff:10.0.0.1",
                          "fc00::1",
                          "fd12::1",
                          "fe80::1",
                          "fec0::1",
                          "ff02::1",
                          "2002:7f00:1::",
                          "2001::1",
                          "64:ff9b::7f00:1",
                          "64:ff9b:1::1",
                          "",
                          "localhost",
                          "fe80::1%eth0"}) {
    EXPECT_FALSE(is_global_address(bad)) << bad;
  }
}

TEST(RedirectRules, HostsAndNetworksAreListed) {
  const RedirectRules rules =
      RedirectRules::parse({"10.1.0.0/16", "Minio.internal", "fd00::/8"}).value();
  const http::Url other = http::parse_url("https://storage.example/").value();
  const http::Url minio = http::parse_url("http://minio.internal:9000/").value();
  EXPECT_TRUE(rules.may_connect(other, "8.8.8.8"));
  EXPECT_TRUE(rules.may_connect(other, "10.1.2.3"));
  EXPECT_TRUE(rules.may_connect(other, "fd00::1"));
  EXPECT_FALSE(rules.may_connect(other, "10.2.0.1"));
  EXPECT_FALSE(rules.may_connect(other, "127.0.0.1"));
  EXPECT_TRUE(rules.may_connect(minio, "10.2.0.1"));
  EXPECT_FALSE(RedirectRules::parse({"10.1.0.0/33"}));
  EXPECT_FALSE(RedirectRules::parse({"https://minio.internal"}));
}

TEST(RedirectRules, NeverFromHttpsToHttp) {
  const http::Url tls = http::parse_url("https://a.example/").value();
  const http::Url plain = http::parse_url("http://a.example/").value();
  EXPECT_NE(RedirectRules::refusal(tls, plain), "");
  EXPECT_EQ(RedirectRules::refusal(plain, tls), "");
  EXPECT_EQ(RedirectRules::refusal(tls, tls), "");
}

}  // namespace
}  // namespace proxy

// Networks, and what proxies may say about a request.
#include "http/forwarded.h"

#include <gtest/gtest.h>

namespace http {
namespace {

TEST(Network, Parsing) {
  for (const std::string bad : {"", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8x", "::/129",
                                "host", "10.0.0.0/-1"}) {
    EXPECT_FALSE(Network::parse(bad)) << bad;
  }
  EXPECT_TRUE(Network::parse("10.1.2.3")->contains("10.1.2.3"));
  EXPECT_FALSE(Network::parse("10.1.2.3")->contains("10.1.2.2"));
  EXPECT_TRUE(Network::parse("0.0.0.0/0")->contains("10.1.2.2"));
  EXPECT_FALSE(Network::parse("0.0.0.0/0")->contains("2001:db8::1"));
  EXPECT_FALSE(Network::parse("0.0.0.0/0")->contains("unix"));
}

TEST(Network, OneTextForOneNetwork) {
  EXPECT_EQ(Network::parse("10.1.2.3/24")->str(), "10.1.2.0/24");
  EXPECT_EQ(Network::parse("10.1.2.255/31")->str(), "10.1.2.254/31");
  EXPECT_EQ(Network::parse("10.1.2.3")->str(), "10.1.2.3/32");
  EXPECT_EQ(Network::parse("255.255.255.255/0")->str(), "0.0.0.0/0");
  EXPECT_EQ(Network::parse("2001:DB8:0:0:ffff::1/65")->str(), "2001:db8:0:0:8000::/65");
  EXPECT_EQ(Network::parse("::ffff:10.1.2.3/120")->str(), "10.1.2.0/24");
  EXPECT_EQ(Network::parse("2001:db8::1/0")->str(), "::/0");
}

TEST(Network, AroundAnAddress) {
  EXPECT_EQ(Network::around("10.1.2.3", 24, 64)->str(), "10.1.2.0/24");
  EXPECT_EQ(Network::around("::ffff:10.1.2.3", 24, 64)->str(), "10.1.2.0/24");
  EXPECT_EQ(Network::around("2001:db8::1:2:3:4", 24, 64)->str(), "2001:db8::/64");
  EXPECT_FALSE(Network::around("unix", 24, 64));
}

Request forwarded(const std::string& peer, const std::string& name, const std::string& value) {
  Request request;
  request.peer.address = peer;
  request.headers.add("Host", "inner:5000");
  request.headers.add(name, value);
  return request;
}

TEST(Forwarded, OnlyTrustedProxiesSayWhoTheClientIs) {
  const TrustedProxies trusted{{*Network::parse("127.0.0.0/8"), *Network::parse("10.0.0.0/8")}};
  const std::string list = "198.51.100.7, 203.0.113.5, 10.0.0.1";
  EXPECT_EQ(client_address(forwarded("127.0.0.1", "X-Forwarded-For", list), trusted),
            "203.0.113.5");
  EXPECT_EQ(client_address(forwarded("192.0.2.1", "X-Forwarded-For", list), trusted), "192.0.2.1");
  EXPECT_EQ(client_address(forwarded("127.0.0.1", "X-Forwarded-For", list), {}), "127.0.0.1");
  EXPECT_EQ(client_address(forwarded("127.0.0.1", "X-Other", list), trusted), "127.0.0.1");
  EXPECT_EQ(client_address(forwarded("127.0.0.1", "Forwarded",
                                     R"(for="[2001:db8::1]:4711";proto=https, for=10.0.0.1)"),
                           trusted),
            "2001:db8::1");
  EXPECT_EQ(
      client_address(forwarded("127.0.0.1", "X-Forwarded-For", "10.0.0.2, 10.0.0.1"), trusted),
      "10.0.0.2");
}

// A proxy that sets one of the fields passes on the other as the client sent it.
TEST(Forwarded, TwoFieldsThatNameDifferentClientsNameNone) {
  const TrustedProxies trusted{{*Network::parse("10.0.0.0/8")}};
  const auto client = [&](const std::string& x_forwarded_for, const std::string& forwarded_field) {
    Request request = forwarded("10.0.0.1", "X-Forwarded-For", x_forwarded_for);
    request.headers.add("Forwarded", forwarded_field);
    return client_address(request, trusted);
  };
  EXPECT_EQ(client("198.51.100.7", "for=203.0.113.5"), std::nullopt);
  EXPECT_EQ(client("198.51.100.7, 10.0.0.2", "for=203.0.113.5, for=10.0.0.2"), std::nullopt);
  EXPECT_EQ(client("198.51.100.7", "proto=https"), "198.51.100.7") << "names nobody";
  EXPECT_EQ(client("203.0.113.5", "for=203.0.113.5;proto=https"), "203.0.113.5");
  EXPECT_EQ(client("198.51.100.7, 203.0.113.5, 10.0.0.2", R"(for="203.0.113.5:4711")"),
            "203.0.113.5");
  EXPECT_EQ(client("2001:db8:0::1", R"(for="[2001:DB8::1]")"), "2001:DB8::1");
}

// A proxy adds what it has seen behind what the client sent.
TEST(Forwarded, AQuoteOfTheClientHidesNothing) {
  const TrustedProxies trusted{{*Network::parse("10.0.0.0/8")}};
  const auto client = [&](const std::string& name, const std::string& of_client,
                          const std::string& of_proxy) {
    Request request = forwarded("10.0.0.1", name, of_client);
    request.headers.add(name, of_proxy);
    return client_address(request, trusted);
  };
  EXPECT_EQ(client("X-Forwarded-For", "\"x", "203.0.113.5"), "203.0.113.5");
  for (const std::string open : {"for=\"x", "for=\"\\", "for=x;by=\""}) {
    EXPECT_EQ(client("Forwarded", open, "for=203.0.113.5"), std::nullopt) << open;
    EXPECT_EQ(client("Forwarded", open, R"(for="[2001:db8::1]")"), std::nullopt) << open;
  }
  EXPECT_EQ(client("Forwarded", R"(for="x\",")", "for=203.0.113.5"), "203.0.113.5");
}

TEST(Forwarded, AUnixSocketIsTrustedByItsWordOnly) {
  const TrustedProxies local{.networks = {*Network::parse("10.0.0.0/8")}, .unix_socket = true};
  const std::string list = "198.51.100.7, 203.0.113.5, 10.0.0.1";
  EXPECT_EQ(client_address(forwarded("unix", "X-Forwarded-For", list), local), "203.0.113.5");
  EXPECT_EQ(client_address(forwarded("unix", "X-Forwarded-For", list), {local.networks}), "unix");
  EXPECT_EQ(client_address(forwarded("192.0.2.1", "X-Forwarded-For", list), local), "192.0.2.1");
  EXPECT_EQ(client_address(forwarded("unix", "X-Forwarded-For", "203.0.113.5, unix"), local),
            "unix")
      << "what a client calls itself is no socket";
}

TEST(Forwarded, WhoAsksForAnotherAndIsNotBelieved) {
  const TrustedProxies trusted{.networks = {*Network::parse("10.0.0.0/8")}};
  EXPECT_FALSE(is_for_another(forwarded("10.0.0.1", "X-Forwarded-For", "192.0.2.1"), trusted));
  EXPECT_FALSE(is_for_another(forwarded("10.0.0.1", "X-Forwarded-For", "10.0.0.1"), trusted));
  EXPECT_FALSE(is_for_another(forwarded("192.0.2.1", "X-Other", "192.0.2.1"), trusted));
  EXPECT_TRUE(is_for_another(forwarded("127.0.0.1", "X-Forwarded-For", "192.0.2.1"), trusted));
  EXPECT_TRUE(is_for_another(forwarded("unix", "Forwarded", "for=192.0.2.1"), trusted));
}

TEST(Forwarded, TheBaseIsWhatTheClientSees) {
  EXPECT_EQ(public_base(forwarded("", "X-Other", "")), "http://inner:5000");
  EXPECT_EQ(public_base(forwarded("", "X-Forwarded-Proto", "https, http")), "https://inner:5000");
  EXPECT_EQ(public_base(forwarded("", "X-Forwarded-Host", "registry.example")),
            "http://registry.example");
  EXPECT_EQ(
      public_base(forwarded("", "Forwarded", R"(proto=https;host="registry.example:444", host=x)")),
      "https://registry.example:444");
  EXPECT_EQ(public_base(forwarded("", "X-Forwarded-Proto", "gopher")), "http://inner:5000");
  EXPECT_EQ(public_base(forwarded("", "X-Forwarded-Host", "a/b?\"<x>")), "");
}

}  // namespace
}  // namespace http

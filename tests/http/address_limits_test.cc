#include "http/address_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "tests/http/handlers.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::End;
using test::RawClient;
using test::RawResponse;
using test::TestServer;

const base::TimePoint kNow{1h};

TEST(AddressLimits, CountsConnections) {
  AddressLimits limits;
  auto first = limits.connect("192.0.2.1", 2);
  const auto second = limits.connect("192.0.2.1", 2);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(limits.connect("192.0.2.1", 2));
  EXPECT_TRUE(limits.connect("192.0.2.2", 2));
  first.reset();
  EXPECT_TRUE(limits.connect("192.0.2.1", 2));
}

TEST(AddressLimits, CountsRequestsInFlightForThemselves) {
  AddressLimits limits;
  const auto connection = limits.connect("192.0.2.1", 1);
  auto first = limits.begin_request("192.0.2.1", 1);
  EXPECT_TRUE(connection && first);
  EXPECT_FALSE(limits.begin_request("192.0.2.1", 1));
  first.reset();
  EXPECT_TRUE(limits.begin_request("192.0.2.1", 1));
}

TEST(AddressLimits, AnIpv6ClientIsItsNetwork) {
  AddressLimits limits;
  const auto one = limits.connect("2001:db8:0:1::1", 1);
  EXPECT_TRUE(one);
  EXPECT_FALSE(limits.connect("2001:db8:0:1:ffff::2", 1));
  EXPECT_TRUE(limits.connect("2001:db8:0:2::1", 1));
}

TEST(AddressLimits, WhatIsNoAddressHasNoLimit) {
  AddressLimits limits;
  const auto one = limits.connect("unix", 1);
  EXPECT_TRUE(limits.connect("unix", 1));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limits.request("unix", {1, 1}, kNow), 0s);
}

TEST(AddressLimits, AllowsABurstAndThenTheRate) {
  AddressLimits limits;
  const RequestRate rate{.per_second = 2, .burst = 3};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.request("192.0.2.1", rate, kNow), 0s);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow), 500ms);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow), 500ms);  // a refusal costs nothing
  EXPECT_EQ(limits.request("192.0.2.2", rate, kNow), 0s);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow + 400ms), 100ms);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow + 500ms), 0s);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow + 500ms), 500ms);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limits.request("192.0.2.1", rate, kNow + 1h), 0s);
  EXPECT_EQ(limits.request("192.0.2.1", rate, kNow + 1h), 500ms);
}

TEST(AddressLimits, ManyAddressesHardlyHinderOthers) {
  AddressLimits limits;
  const RequestRate rate{.per_second = 1, .burst = 1};
  for (int i = 0; i < 1000; ++i) {
    limits.request("10.0." + std::to_string(i / 250) + '.' + std::to_string(i % 250), rate, kNow);
  }
  int refused = 0;
  for (int i = 0; i < 250; ++i) {
    if (limits.request("192.0.2." + std::to_string(i), rate, kNow) > 0s) ++refused;
  }
  // About one in a thousand would have both of its slots taken.
  EXPECT_LT(refused, 10);
}

// ---- the server

base::Task<void> name_client(Exchange& e) {
  Response response{.body = e.request.client};
  co_await e.response.send(std::move(response));
}

TEST(PerAddress, MoreConnectionsAreClosedAtOnce) {
  TestServer server(name_client, {.limits = {.max_connections_per_address = 2}, .loops = 2});
  std::list<RawClient> open;
  for (int i = 0; i < 2; ++i) {
    open.emplace_back(server.port());
    EXPECT_EQ(open.back().get("/").status, 200);
  }
  RawClient third(server.port());
  EXPECT_EQ(third.wait_for_end(), End::clean);
  EXPECT_EQ(server.server().limited_connections(), 1U);
  open.pop_front();
  while (server.server().connections() > 1) std::this_thread::yield();
  RawClient fourth(server.port());
  EXPECT_EQ(fourth.get("/").status, 200);
}

TEST(PerAddress, MoreRequestsAreToldWhenToComeAgain) {
  base::ManualClock clock;
  TestServer server(name_client,
                    {.limits = {.request_rate_per_address = {.per_second = 0.5, .burst = 2}},
                     .clock = &clock,
                     .loops = 2});
  RawClient one(server.port());
  RawClient other(server.port());
  EXPECT_EQ(one.get("/").status, 200);
  EXPECT_EQ(other.get("/").status, 200);
  const RawResponse refused = one.get("/");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.get("Retry-After"), "2");
  EXPECT_EQ(server.server().limited_requests(), 1U);
  clock.advance(2s);
  EXPECT_EQ(one.get("/").status, 200);
  EXPECT_EQ(other.get("/").status, 429);
}

TEST(PerAddress, MoreRequestsInFlightAreToldToComeAgain) {
  Hold hold;
  const TrustedProxies proxies{.networks = {*Network::parse("127.0.0.1")}};
  TestServer server(
      [&](Exchange& e) { return e.request.path == "/a" ? hold.handler()(e) : name_client(e); },
      {.limits = {.max_requests_in_flight_per_address = 1, .trusted_proxies = proxies},
       .loops = 2});
  RawClient first(server.port());
  first.send("GET /a HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
  hold.wait_for_entered(1);
  RawClient second(server.port());
  const RawResponse refused = second.get("/", "X-Forwarded-For: 192.0.2.1\r\n");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.headers.get("Retry-After"), "1");
  EXPECT_EQ(server.server().limited_requests(), 1U);
  EXPECT_EQ(second.get("/", "X-Forwarded-For: 192.0.2.2\r\n").body, "192.0.2.2");
  hold.release();
  EXPECT_EQ(first.response().body, "held");
  server.wait_for_accesses(3);
  EXPECT_EQ(second.get("/", "X-Forwarded-For: 192.0.2.1\r\n").body, "192.0.2.1");
}

TEST(PerAddress, ListedNetworksHaveNoLimits) {
  TestServer server(name_client,
                    {.limits = {.max_connections_per_address = 1,
                                .request_rate_per_address = {.per_second = 0.001, .burst = 1},
                                .unlimited = {*Network::parse("127.0.0.0/8")}}});
  std::list<RawClient> open;
  for (int i = 0; i < 3; ++i) {
    open.emplace_back(server.port());
    EXPECT_EQ(open.back().get("/").status, 200);
  }
}

TEST(PerAddress, BehindATrustedProxyTheClientCounts) {
  TestServer server(name_client,
                    {.limits = {.max_connections_per_address = 1,
                                .request_rate_per_address = {.per_second = 0.001, .burst = 1},
                                .trusted_proxies = {.networks = {*Network::parse("127.0.0.1")}}}});
  RawClient proxy(server.port());
  EXPECT_EQ(proxy.get("/", "X-Forwarded-For: 192.0.2.1\r\n").body, "192.0.2.1");
  EXPECT_EQ(proxy.get("/", "X-Forwarded-For: 192.0.2.1\r\n").status, 429);
  RawClient second(server.port());  // of the proxy: not limited
  EXPECT_EQ(second.get("/", "X-Forwarded-For: 192.0.2.1\r\n").status, 429);
  EXPECT_EQ(second.get("/", "X-Forwarded-For: 192.0.2.2\r\n").status, 200);
}

TEST(PerAddress, BehindAUnixSocketTheClientCounts) {
  const test::TempDir dir;
  const std::string path = (dir.path() / "socket").string();
  TestServer server(name_client,
                    {.limits = {.request_rate_per_address = {.per_second = 0.001, .burst = 1},
                                .trusted_proxies = {.unix_socket = true}},
                     .address = "unix:" + path});
  RawClient proxy = RawClient::unix_socket(path);
  EXPECT_EQ(proxy.get("/", "X-Forwarded-For: 192.0.2.1\r\n").body, "192.0.2.1");
  EXPECT_EQ(proxy.get("/", "X-Forwarded-For: 192.0.2.1\r\n").status, 429);
  EXPECT_EQ(proxy.get("/", "X-Forwarded-For: 192.0.2.2\r\n").body, "192.0.2.2");
  EXPECT_EQ(proxy.get("/").body, "unix");
}

// Where the proxy itself may do what its clients may not.
TEST(PerAddress, WhoAddsAnotherFieldThanHisProxyHasIsRefused) {
  TestServer server(name_client,
                    {.limits = {.request_rate_per_address = {.per_second = 0.001, .burst = 1},
                                .unlimited = {*Network::parse("127.0.0.0/8")},
                                .trusted_proxies = {.networks = {*Network::parse("127.0.0.1")}}}});
  RawClient proxy(server.port());
  const std::string by_proxy = "X-Forwarded-For: 192.0.2.1\r\n";
  const std::string by_client = "Forwarded: for=192.0.2.9\r\n";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(proxy.get("/", by_client + by_proxy).status, 400);
  EXPECT_EQ(proxy.get("/", "Forwarded: for=192.0.2.1\r\n" + by_proxy).body, "192.0.2.1");
  EXPECT_EQ(proxy.get("/", by_proxy).status, 429);
}

TEST(PerAddress, AFieldOfAnybodyElseChangesNothing) {
  TestServer server(name_client,
                    {.limits = {.request_rate_per_address = {.per_second = 0.001, .burst = 1}}});
  RawClient client(server.port());
  EXPECT_EQ(client.get("/", "X-Forwarded-For: 192.0.2.1\r\n").body, "127.0.0.1");
  EXPECT_EQ(client.get("/", "X-Forwarded-For: 192.0.2.2\r\n").status, 429);
}

TEST(PerAddress, OtherLimitsAreInForceAtOnce) {
  TestServer server(name_client);
  RawClient client(server.port());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(client.get("/").status, 200);
  ServerLimits limits;
  limits.request_rate_per_address = {.per_second = 0.001, .burst = 1};
  server.server().set_limits(limits);
  EXPECT_EQ(client.get("/").status, 200);
  EXPECT_EQ(client.get("/").status, 429);
}

}  // namespace
}  // namespace http

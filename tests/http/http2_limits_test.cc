// What is left of the server for others by HTTP/2 clients that ask too much, or take too little.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/http/http2_fixture.h"

namespace http::http2_test {
namespace {

// --- Limits and floods -------------------------------------------------------------------------

TEST_F(Http2, RefusesTheHundredAndFirstStream) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  std::string requests;
  for (uint32_t i = 0; i <= kStreams; ++i) requests += get(2 * i + 1);
  client.send(requests);
  const Frame refused = client.next(NGHTTP2_RST_STREAM);
  EXPECT_EQ(refused.stream, 2 * kStreams + 1);
  EXPECT_EQ(refused.error(), NGHTTP2_REFUSED_STREAM);
  hold.release();
  EXPECT_EQ(client.body(1), "held");
}

TEST_F(Http2, AStreamThatWasResetCountsUntilItsHandlerHasReturned) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  for (uint32_t i = 0; i < kStreams; ++i) client.send(get(2 * i + 1));
  hold.wait_for_entered(kStreams);
  for (uint32_t i = 0; i < kStreams; ++i) client.send(reset(2 * i + 1));
  client.send(get(1001));
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1001).error(), NGHTTP2_REFUSED_STREAM);
  EXPECT_EQ(hold.entered(), kStreams);
  hold.release();
  server.wait_for_accesses(kStreams);
  client.send(get(1003));
  EXPECT_EQ(client.status(1003), "200");
}

TEST_F(Http2, IdleConnectionsMakeRoomForOthers) {
  TestServer server(describe, with_tls({.limits = {.max_connections = 2}}));
  RawClient silent(server.port());  // does not even shake hands
  while (server.server().connections() < 1) std::this_thread::yield();
  RawHttp2 first(server.port(), ca());
  first.send(get(1));
  EXPECT_EQ(first.status(1), "200");
  first.body(1);
  server.wait_for_accesses(1);
  RawHttp2 second(server.port(), ca());
  second.send(get(1));
  EXPECT_EQ(second.status(1), "200");
  silent.wait_for_end();
  while (server.server().connections() > 2) std::this_thread::yield();
  RawHttp2 third(server.port(), ca());
  third.send(get(1));
  EXPECT_EQ(third.status(1), "200");
  EXPECT_EQ(first.wait_for_going_away(), NGHTTP2_NO_ERROR);
}

TEST_F(Http2, EndsFloods) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  const std::string ping = frame(NGHTTP2_PING, 0, 0, "12345678");
  const std::string empty_settings = frame(NGHTTP2_SETTINGS, 0, 0);
  const std::string empty_data = frame(NGHTTP2_DATA, 0, 1);
  const std::string priority = frame(NGHTTP2_PRIORITY, 0, 1, big_endian(0) + 'x');
  for (const std::string& one : {ping, empty_settings, empty_data, priority}) {
    RawHttp2 client(server.port(), ca());
    std::string flood = put(1);
    for (int i = 0; i < 600; ++i) flood += one;
    client.send(flood);
    EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_ENHANCE_YOUR_CALM) << int{one[3]};
  }
  hold.release();
}

TEST_F(Http2, EndsAFloodOfResets) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  std::string flood;
  for (uint32_t i = 0; i < 300; ++i) flood += get(2 * i + 1) + reset(2 * i + 1);
  client.send(flood);
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_ENHANCE_YOUR_CALM);
  hold.release();
}

// containerd asks for open ranges and leaves each after a chunk.
TEST_F(Http2, WhoLeavesAnswersThatHaveBegunIsNoFlood) {
  TestServer server(send_parts_to, with_tls());
  RawHttp2 client(server.port(), ca());
  for (uint32_t i = 0; i < 1000; ++i) {
    const uint32_t stream = 2 * i + 1;
    client.send(get(stream));
    const size_t received = client.next(NGHTTP2_DATA, stream).payload.size();
    client.send(reset(stream) +
                frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(static_cast<uint32_t>(received))));
  }
  client.send(get(2001));
  EXPECT_EQ(client.status(2001), "200");
}

// CVE-2025-8671: the client has the server reset its streams.
TEST_F(Http2, EndsAFloodOfResetsThatItIsMadeToSend) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  std::string flood;
  for (uint32_t i = 0; i < 300; ++i) {
    flood += get(2 * i + 1) +
             frame(NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, big_endian(NGHTTP2_MAX_WINDOW_SIZE));
  }
  client.send(flood);
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_ENHANCE_YOUR_CALM);
  hold.release();
}

TEST_F(Http2, EndsAFloodOfContinuations) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  std::string flood = frame(NGHTTP2_HEADERS, kEndStream, 1, head("GET", "/"));
  for (int i = 0; i < 100; ++i) {
    flood += frame(NGHTTP2_CONTINUATION, 0, 1, literal("x", std::string(1000, 'x')));
  }
  client.send(flood);
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_F(Http2, ResetsOverALongTimeAreNoFlood) {
  base::ManualClock clock;
  TestServer server(describe, with_tls({.clock = &clock}));
  RawHttp2 client(server.port(), ca());
  uint32_t stream = 1;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 90; ++i, stream += 2) client.send(get(stream) + reset(stream));
    client.send(get(stream));
    EXPECT_EQ(client.status(stream), "200");
    stream += 2;
    clock.advance(6s);
  }
}

// Moves time until the server has something to say.
void advance_until_heard(base::ManualClock& clock, RawHttp2& client, base::Duration step) {
  for (int i = 0; i < 3000 && !client.raw().readable(10); ++i) clock.advance(step);
}

TEST_F(Http2, EndsIdleAndUnfinishedConnections) {
  base::ManualClock clock;
  TestServer server(describe, with_tls({.clock = &clock}));
  for (const std::string& sent :
       {std::string(), get(1), frame(NGHTTP2_HEADERS, kEndStream, 1, head("GET", "/"))}) {
    RawHttp2 client(server.port(), ca());
    client.send(frame(NGHTTP2_PING, 0, 0, "12345678") + sent);
    client.next(NGHTTP2_PING);
    if (sent == get(1)) client.body(1);
    advance_until_heard(clock, client, 5s);
    const bool unfinished = !sent.empty() && sent != get(1);
    EXPECT_EQ(client.next(NGHTTP2_GOAWAY).error(),
              unfinished ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR);
  }
}

TEST_F(Http2, ABodyThatStallsIs408) {
  base::ManualClock clock;
  TestServer server(describe, with_tls({.clock = &clock}));
  RawHttp2 client(server.port(), ca());
  client.send(put(1));
  client.next(NGHTTP2_WINDOW_UPDATE, 1);  // the handler reads
  advance_until_heard(clock, client, 10s);
  EXPECT_EQ(client.status(1), "408");
  client.send(get(3));
  EXPECT_EQ(client.status(3), "200");
}

TEST_F(Http2, AClientThatTakesNothingIsReset) {
  base::ManualClock clock;
  TestServer server(send_large, with_tls({.clock = &clock}));
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1));
  EXPECT_EQ(client.status(1), "200");
  advance_until_heard(clock, client, 10s);
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1).error(), NGHTTP2_INTERNAL_ERROR);
}

// Clients that take nothing, of a proxy that names them. A refusal waits for them, too.
class Http2Refusals : public Http2 {
 protected:
  TestServerOptions with_places(size_t most) const {
    return with_tls({.limits = {.max_requests_in_flight = most,
                                .max_requests_in_flight_per_address = 1,
                                .trusted_proxies = {.networks = {*Network::parse("127.0.0.1")}}}});
  }
  Handler handler() {
    return
        [this](Exchange& e) { return e.request.path == "/held" ? hold.handler()(e) : describe(e); };
  }
  const std::string no_window = setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0);
  Hold hold;
};

TEST_F(Http2Refusals, ForOneAddressLeavePlacesToOthers) {
  TestServer server(handler(), with_places(2));
  RawHttp2 one(server.port(), ca(), no_window);
  one.send(get_for("192.0.2.1", 1, "/held"));
  hold.wait_for_entered(1);
  for (const uint32_t stream : {3U, 5U}) {
    one.send(get_for("192.0.2.1", stream, "/a"));
    EXPECT_EQ(one.status(stream), "429");
  }
  RawHttp2 other(server.port(), ca());
  other.send(get_for("192.0.2.2", 1, "/a"));
  EXPECT_EQ(other.status(1), "200");
  hold.release();
}

TEST_F(Http2Refusals, ForWantOfPlacesTakeNone) {
  TestServer server(handler(), with_places(1));
  RawHttp2 one(server.port(), ca());
  one.send(get_for("192.0.2.1", 1, "/held"));
  hold.wait_for_entered(1);
  RawHttp2 other(server.port(), ca(), no_window);
  other.send(get_for("192.0.2.2", 1, "/a"));
  EXPECT_EQ(other.status(1), "503");
  hold.release();
  EXPECT_EQ(one.body(1), "held");
  server.wait_for_accesses(1);
  other.send(get_for("192.0.2.2", 3, "/a"));
  EXPECT_EQ(other.status(3), "200");
}

TEST_F(Http2, AClientThatTakesAHundredBytesASecondIsReset) {
  base::ManualClock clock;
  TestServer server(send_large, with_tls({.clock = &clock}));
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1));
  EXPECT_EQ(client.status(1), "200");
  Frame last;
  for (int seconds = 0; last.type != NGHTTP2_RST_STREAM; ++seconds) {
    ASSERT_LT(seconds, 200);
    client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, big_endian(100)));
    while (last.type != NGHTTP2_DATA && last.type != NGHTTP2_RST_STREAM) last = client.next();
    if (last.type != NGHTTP2_DATA) break;
    clock.advance(1s);
    // Once this comes back the server has looked at the clock, while the window was closed.
    client.send(frame(NGHTTP2_PING, 0, 0, "12345678"));
    while (last.type != NGHTTP2_PING && last.type != NGHTTP2_RST_STREAM) last = client.next();
  }
  EXPECT_EQ(last.error(), NGHTTP2_INTERNAL_ERROR);
}

// As who unpacks several layers at once does when his disk is slow.
TEST_F(Http2, AClientMayLeaveAResponseWhileItTakesAnother) {
  constexpr uint32_t kPart = 200'000;
  base::ManualClock clock;
  TestServer server(send_large, with_tls({.clock = &clock}));
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1) + get(3) + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(4 * kLarge)));
  for (size_t taken = kPart; taken < kLarge; taken += kPart) {
    client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 3, big_endian(kPart)));
    while (client.received(3) < taken) {
      const Frame f = client.next();
      ASSERT_NE(f.type, NGHTTP2_RST_STREAM) << taken;
    }
    clock.advance(59s);
  }
  client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, big_endian(kPart)));
  while (client.received(1) < kPart) client.next(NGHTTP2_DATA, 1);
  advance_until_heard(clock, client, 10s);  // it takes nothing more of either
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM).error(), NGHTTP2_INTERNAL_ERROR);
}

// Its windows are open, and the kernel lets the server send only once it has taken much.
TEST_F(Http2, AClientThatTakesEightTimesWhatItMustIsServedToTheEnd) {
  constexpr uint32_t kWide = 1U << 30;
  constexpr size_t kSize = 16 << 20;
  base::ManualClock clock;
  TestServer server(
      send_parts_to,
      with_tls({.limits = {.send_timeout = 10s, .min_send_rate = 1 << 10}, .clock = &clock}));
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWide),
                  16 << 10);
  client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(kWide)) + get(1));
  for (size_t taken = 0; client.received(1) < kSize; clock.advance(9s)) {
    taken = std::min(taken + (80 << 10), kSize);
    while (client.received(1) < taken) ASSERT_NE(client.next().type, NGHTTP2_RST_STREAM) << taken;
    server.settle();
  }
  EXPECT_TRUE(server.wait_for_accesses(1)[0].complete);
}

// Sends what is in the file when the client takes it.
base::Task<void> send_whole_file(Exchange* e, int fd, size_t size) {
  co_await e->response.begin(200, {}, size);
  co_await e->response.write_file(fd, 0, size);
  co_await e->response.finish();
}

TEST_F(Http2, AFileIsNotReadForAClientThatTakesNothing) {
  constexpr size_t kSize = 64 << 10;
  const std::filesystem::path path = dir_.path() / "file";
  const base::UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const auto fill = [&](char c) {
    const std::string bytes(kSize, c);
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), kSize, 0), static_cast<ssize_t>(kSize));
  };
  fill('a');
  TestServer server([&](Exchange& e) { return send_whole_file(&e, file.get(), kSize); },
                    with_tls());
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1));
  EXPECT_EQ(client.status(1), "200");
  server.settle();
  fill('b');
  client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, big_endian(kSize)) +
              frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(kSize)));
  EXPECT_EQ(client.body(1), std::string(kSize, 'b'));
}

}  // namespace
}  // namespace http::http2_test

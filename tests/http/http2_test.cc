// What an HTTP/2 client sees that asks for something.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/http/http2_fixture.h"

namespace http::http2_test {
namespace {

// --- Ordinary clients --------------------------------------------------------------------------

TEST_F(Http2, ServesGetHeadAndStatuses) {
  TestServer server(describe, with_tls());
  const std::string host = "localhost:" + std::to_string(server.port());
  const Fetched got = Curl(server.port(), "/a", ca()).run();
  EXPECT_EQ(got.result, CURLE_OK);
  EXPECT_EQ(got.version, CURL_HTTP_VERSION_2_0);
  EXPECT_EQ(got.body, "GET /a " + host + " 0");
  EXPECT_THAT(got.fields, testing::HasSubstr("date: "));
  EXPECT_THAT(got.fields, testing::HasSubstr("x-name: a  b\r\n"));
  EXPECT_THAT(got.fields, testing::Not(testing::HasSubstr("connection")));
  const Fetched headed = Curl(server.port(), "/a", ca()).set(CURLOPT_NOBODY, 1L).run();
  EXPECT_EQ(headed.result, CURLE_OK);
  EXPECT_EQ(headed.body, "");
  EXPECT_THAT(
      headed.fields,
      testing::HasSubstr("content-length: " + std::to_string(got.body.size() + 1) + "\r\n"));
  EXPECT_EQ(Curl(server.port(), "/missing", ca()).run().status, 404);
  for (const auto& [path, status] : {std::pair("/empty", 204), std::pair("/unchanged", 304)}) {
    const Fetched bodiless = Curl(server.port(), path, ca()).run();
    EXPECT_EQ(bodiless.result, CURLE_OK);
    EXPECT_EQ(bodiless.status, status);
    EXPECT_EQ(bodiless.body, "");
    EXPECT_THAT(bodiless.fields, testing::Not(testing::HasSubstr("content-length")));
  }
}

TEST_F(Http2, SharesItsPortWithHttp11) {
  TestServer server(describe, with_tls());
  const Fetched got =
      Curl(server.port(), "/a", ca()).set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1}).run();
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.version, CURL_HTTP_VERSION_1_1);
  RawClient without_alpn(server.port(), {.ca = ca()});
  EXPECT_EQ(without_alpn.get("/a").status, 200);
}

TEST_F(Http2, CanBeSwitchedOff) {
  TestServerOptions options;
  options.tls = std::make_shared<TlsContext>(TlsOptions{
      .certificates = {{.certificate = files_.certificate, .key = files_.key}}, .http2 = false});
  TestServer server(describe, options);
  const Fetched got = Curl(server.port(), "/a", ca()).run();
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.version, CURL_HTTP_VERSION_1_1);
}

TEST_F(Http2, SendsLargeBodiesAndFiles) {
  std::string content;
  while (content.size() < 5'000'000) content += std::to_string(content.size()) + ",";
  const std::filesystem::path path = dir_.path() / "file";
  std::ofstream(path) << content;
  const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct SendFile {
    static base::Task<void> handle(Exchange* e, int file, uint64_t size) {
      co_await e->response.begin(206, {}, size - 7);
      co_await e->response.write_file(file, 7, size - 7);
      co_await e->response.finish();
    }
  };
  TestServer server([&](Exchange& e) { return SendFile::handle(&e, fd.get(), content.size()); },
                    with_tls());
  const Fetched got = Curl(server.port(), "/a", ca()).run();
  EXPECT_EQ(got.result, CURLE_OK);
  EXPECT_EQ(got.status, 206);
  EXPECT_TRUE(got.body == content.substr(7));
  const std::vector<Access> accesses = server.wait_for_accesses(1);
  EXPECT_TRUE(accesses[0].complete);
  EXPECT_EQ(accesses[0].body_bytes, content.size() - 7);
}

TEST_F(Http2, SendsABodyOfUnknownLength) {
  TestServer server(send_unbounded, with_tls());
  EXPECT_EQ(Curl(server.port(), "/", ca()).run().body, "hello world");
  EXPECT_EQ(Curl(server.port(), "/", ca()).set(CURLOPT_NOBODY, 1L).run().status, 200);
}

TEST_F(Http2, ReceivesABodyLargerThanItsWindows) {
  TestServer server(describe, with_tls());
  constexpr size_t kSize = 40 << 20;
  const Fetched got = Curl(server.port(), "/a", ca()).upload(kSize).run();
  EXPECT_EQ(got.result, CURLE_OK);
  EXPECT_THAT(got.body, testing::EndsWith(" " + std::to_string(kSize)));
}

TEST_F(Http2, ABodyNobodyReadsIsCutOffAfterTheResponse) {
  TestServer server(deaf, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(put(1));
  EXPECT_EQ(client.status(1), "200");
  EXPECT_EQ(client.body(1), "deaf");
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1).error(), NGHTTP2_NO_ERROR);
  client.send(frame(NGHTTP2_DATA, 0, 1, std::string(16384, 'x')) + get(3));
  EXPECT_EQ(client.status(3), "200");
}

TEST_F(Http2, AResponseThatIsNotCompletedIsAnErrorForTheClient) {
  TestServer server(fail_midway, with_tls());
  for (const char* path : {"/sized", "/unsized", "/throws"}) {
    const Fetched got = Curl(server.port(), path, ca()).run();
    EXPECT_NE(got.result, CURLE_OK) << path;
    EXPECT_EQ(got.status, 200) << path;
  }
  RawHttp2 client(server.port(), ca());
  client.send(get(1));
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1).error(), NGHTTP2_INTERNAL_ERROR);
  for (const Access& access : server.wait_for_accesses(4)) EXPECT_FALSE(access.complete);
}

TEST_F(Http2, AHandlerThatFailsFirstIsAnErrorResponseOrAReset) {
  TestServer server(fail_first, with_tls());
  EXPECT_EQ(Curl(server.port(), "/throws", ca()).run().status, 500);
  EXPECT_NE(Curl(server.port(), "/nothing", ca()).run().result, CURLE_OK);
}

TEST_F(Http2, ServesAHundredStreamsAtOnce) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  CURLM* const multi = curl_multi_init();
  curl_multi_setopt(multi, CURLMOPT_PIPELINING, long{CURLPIPE_MULTIPLEX});
  std::vector<std::unique_ptr<Curl>> clients;
  for (size_t i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<Curl>(server.port(), "/a", ca()));
    curl_multi_add_handle(multi, clients.back()->easy());
  }
  int running = 1;
  while (running > 0) {
    curl_multi_perform(multi, &running);
    if (hold.entered() == kStreams) hold.release();
    if (running > 0) curl_multi_poll(multi, nullptr, 0, 10, nullptr);
  }
  EXPECT_EQ(server.server().connections(), 1U);
  for (const auto& client : clients) {
    EXPECT_EQ(client->fetched().body, "held");
    curl_multi_remove_handle(multi, client->easy());
  }
  curl_multi_cleanup(multi);
}

// --- Requests ----------------------------------------------------------------------------------

TEST_F(Http2, ContinuesAtTheFirstRead) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(put(1, literal("expect", "100-continue")));
  EXPECT_EQ(client.status(1), "100");
  client.send(frame(NGHTTP2_DATA, kEndStream, 1, "body"));
  EXPECT_EQ(client.status(1), "200");
  EXPECT_EQ(client.body(1), "PUT /a localhost 4");
  // A handler that does not read wants no body.
  TestServer unread(deaf, with_tls());
  RawHttp2 other(unread.port(), ca());
  other.send(put(1, literal("expect", "100-continue")));
  EXPECT_EQ(other.status(1), "200");
}

TEST_F(Http2, AuthorityAndHostMustAgree) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  const auto request = [&](uint32_t stream, const std::string& fields) {
    client.send(frame(
        NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream,
        literal(":method", "GET") + literal(":scheme", "https") + literal(":path", "/") + fields));
    return client.status(stream);
  };
  EXPECT_EQ(request(1, literal(":authority", "a") + literal("host", "A")), "200");
  EXPECT_EQ(request(3, literal("host", "a")), "200");
  EXPECT_EQ(request(5, literal(":authority", "a") + literal("host", "b")), "400");
}

TEST_F(Http2, RefusesMalformedFields) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  uint32_t stream = 1;
  for (const std::string& field :
       {literal("Upper", "x"), literal("connection", "close"), literal("x", "a\nb"),
        literal("content-length", "x"), literal(":unknown", "x")}) {
    client.send(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream, head("GET", "/") + field));
    EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, stream).error(), NGHTTP2_PROTOCOL_ERROR) << field;
    stream += 2;
  }
  client.send(get(stream));
  EXPECT_EQ(client.status(stream), "200");
}

TEST_F(Http2, ASkippedStreamCannotBeOpened) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(get(5));
  EXPECT_EQ(client.status(5), "200");
  client.send(get(3));
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_PROTOCOL_ERROR);
}

const std::string kPaddingTooLong = frame(NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\6Test");

TEST_F(Http2, PaddingLongerThanItsFrameEndsTheConnection) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(put(1) + kPaddingTooLong);
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_PROTOCOL_ERROR);
}

// RFC 9113 §5.1: once RST_STREAM is sent, what the client had on its way is ignored, whatever it
// is.
TEST_F(Http2, WhatComesForAStreamThatWasAnsweredAndResetIsIgnored) {
  TestServer server(deaf, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(put(1));
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1).error(), NGHTTP2_NO_ERROR);
  client.send(kPaddingTooLong + get(3));
  EXPECT_EQ(client.status(3), "200");
}

TEST_F(Http2, RefusesAHeadThatIsTooLarge) {
  TestServer server(describe, with_tls({.limits = {.max_header_bytes = 4096}}));
  RawHttp2 client(server.port(), ca());
  const Frame settings = client.next(NGHTTP2_SETTINGS);
  EXPECT_THAT(settings.payload,
              testing::HasSubstr(setting(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 4096)));
  client.send(frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, 1,
                    head("GET", "/") + literal("x", std::string(4096, 'x'))));
  EXPECT_EQ(client.status(1), "431");
  client.send(get(3));
  EXPECT_EQ(client.status(3), "200");
}

TEST_F(Http2, HoldsNoMoreOfABodyThanTheWindow) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  std::string body;
  for (int i = 0; i < 3; ++i) body += frame(NGHTTP2_DATA, 0, 1, std::string(16384, 'x'));
  client.send(put(1) + body + frame(NGHTTP2_DATA, 0, 1, std::string(16383, 'x')) +
              frame(NGHTTP2_PING, 0, 0, "12345678"));
  while (true) {
    const Frame f = client.next();
    EXPECT_FALSE(f.type == NGHTTP2_WINDOW_UPDATE && f.stream == 1);
    if (f.type == NGHTTP2_PING) break;
  }
  client.send(frame(NGHTTP2_DATA, 0, 1, "x"));
  EXPECT_EQ(client.next(NGHTTP2_RST_STREAM, 1).error(), NGHTTP2_FLOW_CONTROL_ERROR);
  hold.release();
}

TEST_F(Http2, AStreamThatStallsStallsNoOther) {
  TestServer server(send_large, with_tls());
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1) + get(3) + frame(NGHTTP2_WINDOW_UPDATE, 0, 3, big_endian(kLarge)) +
              frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(2 * kLarge)));
  EXPECT_EQ(client.body(3).size(), kLarge);
  client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, big_endian(kLarge)));
  EXPECT_EQ(client.body(1).size(), kLarge);
}

// --- Ends --------------------------------------------------------------------------------------

TEST_F(Http2, DrainsInTwoSteps) {
  Hold hold;
  TestServer server(hold.handler(), with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(get(1));
  hold.wait_for_entered(1);
  std::future<size_t> drained =
      std::async(std::launch::async, [&] { return server.server().drain(60s); });
  EXPECT_EQ(client.next(NGHTTP2_GOAWAY).number(0), 0x7fffffffU);
  const Frame ping = client.next(NGHTTP2_PING);
  // A request that was under way.
  client.send(get(3) + frame(NGHTTP2_PING, kAck, 0, ping.payload));
  const Frame last = client.next(NGHTTP2_GOAWAY);
  EXPECT_EQ(last.number(0), 3U);
  EXPECT_EQ(last.error(), NGHTTP2_NO_ERROR);
  hold.release();
  EXPECT_EQ(client.body(1), "held");
  EXPECT_EQ(client.body(3), "held");
  EXPECT_EQ(client.raw().wait_for_end(), End::clean);
  client.raw().reset();
  EXPECT_EQ(drained.get(), 0U);
}

TEST_F(Http2, DrainEndsAnIdleConnectionAtOnce) {
  TestServer server(describe, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(get(1));
  client.body(1);
  std::future<size_t> drained =
      std::async(std::launch::async, [&] { return server.server().drain(60s); });
  EXPECT_EQ(client.wait_for_going_away(), NGHTTP2_NO_ERROR);
  client.raw().reset();
  EXPECT_EQ(drained.get(), 0U);
}

TEST_F(Http2, DrainResetsWhatDoesNotEnd) {
  TestServer server(send_large, with_tls());
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 0));
  client.send(get(1));
  EXPECT_EQ(client.status(1), "200");
  EXPECT_EQ(server.server().drain(0s), 1U);
  EXPECT_EQ(client.raw().wait_for_end(), End::reset);
}

// The kernel takes only so much ahead of a client that does not read (TCP_NOTSENT_LOWAT).
TEST_F(Http2, ASmallAnswerDoesNotWaitBehindAllOfALargeOne) {
  std::atomic<bool> small_begun = false;
  TestServer server(
      [&](Exchange& e) {
        if (e.request.path == "/large") return send_parts(&e);
        small_begun = true;
        small_begun.notify_all();
        return describe(e);
      },
      with_tls());
  constexpr uint32_t kWide = 1U << 30;
  RawHttp2 client(server.port(), ca(), setting(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWide));
  client.send(frame(NGHTTP2_WINDOW_UPDATE, 0, 0, big_endian(kWide)) + get(1, "/large"));
  EXPECT_EQ(client.status(1), "200");
  client.send(get(3, "/small"));
  small_begun.wait(false);
  EXPECT_EQ(client.status(3), "200");
  EXPECT_LT(client.received(1), size_t{2} << 20);
  client.raw().reset();
}

TEST_F(Http2, AClientThatLeavesEndsItsHandlers) {
  TestServer server(send_large, with_tls());
  {
    RawHttp2 client(server.port(), ca());
    client.send(get(1) + put(3));
    EXPECT_EQ(client.status(1), "200");
  }
  for (const Access& access : server.wait_for_accesses(2)) EXPECT_FALSE(access.complete);
  while (server.server().connections() > 0) std::this_thread::yield();
}

TEST_F(Http2, AHandlerThatWritesNothingCanAskWhetherItsStreamIsReset) {
  std::atomic<size_t> entered = 0;
  TestServer server([&](Exchange& e) { return outlast(&e, &entered); }, with_tls());
  RawHttp2 client(server.port(), ca());
  client.send(get(1) + get(3));
  for (size_t seen = entered; seen < 2; seen = entered) entered.wait(seen);
  client.send(reset(1));
  server.wait_for_accesses(1);
  client.send(reset(3));
  server.wait_for_accesses(2);
}

}  // namespace
}  // namespace http::http2_test

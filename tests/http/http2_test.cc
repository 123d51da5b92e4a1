// What an HTTP/2 client sees: curl for what ordinary clients do, raw frames for what only a broken
// or hostile one does.
#include <curl/curl.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <atomic>
#include <fstream>
#include <future>
#include <map>
#include <set>

#include "base/signal.h"
#include "base/unique_fd.h"
#include "http/tls.h"
#include "tests/http/handlers.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using namespace std::chrono_literals;
using test::Access;
using test::End;
using test::RawClient;
using test::TestServer;
using test::TestServerOptions;

// --- Handlers ----------------------------------------------------------------------------------

// Answers with what it got: method, path, Host, length of the body.
base::Task<void> describe(Exchange& e) {
  size_t size = 0;
  while (true) {
    const std::string_view block = co_await e.body.read();
    if (block.empty()) break;
    size += block.size();
  }
  Response response{.body = e.request.method + " " + e.request.path + " " +
                            std::string(*e.request.headers.get("Host")) + " " +
                            std::to_string(size)};
  response.headers.add("X-Name", "a\r\nb");
  response.headers.add("Connection", "close");
  if (e.request.path == "/missing") response.status = 404;
  if (e.request.path == "/empty") response.status = 204;
  if (e.request.path == "/unchanged") response.status = 304;
  co_await e.response.send(std::move(response));
}

base::Task<void> fail_midway(Exchange& e) {
  const bool sized = e.request.path == "/sized";
  co_await e.response.begin(200, {}, sized ? std::optional<uint64_t>(1000) : std::nullopt);
  co_await e.response.write("some");
  if (e.request.path == "/throws") throw std::runtime_error("in the middle");
}

base::Task<void> fail_first(Exchange& e) {
  if (e.request.path == "/throws") throw std::runtime_error("at once");
  co_return;
}

constexpr uint32_t kStreams = 100;
constexpr size_t kLarge = 3'000'000;

base::Task<void> send_large(Exchange& e) {
  const std::string block(kLarge, 'x');
  co_await e.response.begin(200, {}, block.size());
  co_await e.response.write(block);
  co_await e.response.finish();
}

base::Task<void> send_parts(Exchange* e) {
  const std::string block(1 << 20, 'x');
  co_await e->response.begin(200, {}, 16 * block.size());
  for (int i = 0; i < 16; ++i) co_await e->response.write(block);
  co_await e->response.finish();
}

base::Task<void> send_parts_to(Exchange& e) { return send_parts(&e); }

base::Task<void> send_unbounded(Exchange& e) {
  co_await e.response.begin(200, {}, std::nullopt);
  co_await e.response.write("hello ");
  co_await e.response.write("world");
  co_await e.response.finish();
}

// --- Clients -----------------------------------------------------------------------------------

struct Fetched {
  CURLcode result = CURLE_OK;
  long status = 0;
  long version = 0;
  std::string fields;
  std::string body;
};

class Curl {
 public:
  Curl(uint16_t port, const std::string& path, const std::filesystem::path& ca) {
    set(CURLOPT_URL, ("https://localhost:" + std::to_string(port) + path).c_str());
    set(CURLOPT_CAINFO, ca.c_str());
    set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_2TLS});
    set(CURLOPT_PIPEWAIT, 1L);
    set(CURLOPT_TIMEOUT, 60L);
    set(CURLOPT_WRITEFUNCTION, &append);
    set(CURLOPT_WRITEDATA, &fetched_.body);
    set(CURLOPT_HEADERFUNCTION, &append);
    set(CURLOPT_HEADERDATA, &fetched_.fields);
  }
  ~Curl() { curl_easy_cleanup(easy_); }
  Curl(const Curl&) = delete;
  Curl& operator=(const Curl&) = delete;

  template <typename T>
  Curl& set(CURLoption option, T value) {
    EXPECT_EQ(curl_easy_setopt(easy_, option, value), CURLE_OK);
    return *this;
  }
  // PUT of that many bytes.
  Curl& upload(size_t size) {
    left_ = size;
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(size));
    set(CURLOPT_READFUNCTION, &produce);
    set(CURLOPT_READDATA, &left_);
    return *this;
  }
  const Fetched& run() {
    fetched_.result = curl_easy_perform(easy_);
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &fetched_.status);
    curl_easy_getinfo(easy_, CURLINFO_HTTP_VERSION, &fetched_.version);
    return fetched_;
  }
  CURL* easy() { return easy_; }
  const Fetched& fetched() const { return fetched_; }

 private:
  static size_t append(char* data, size_t, size_t size, void* out) {
    static_cast<std::string*>(out)->append(data, size);
    return size;
  }
  static size_t produce(char* out, size_t, size_t size, void* left) {
    size_t& rest = *static_cast<size_t*>(left);
    const size_t count = std::min(size, rest);
    std::fill_n(out, count, 'u');
    rest -= count;
    return count;
  }

  CURL* easy_ = curl_easy_init();
  Fetched fetched_;
  size_t left_ = 0;
};

struct Frame {
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;
  std::string payload;

  uint32_t number(size_t at) const {
    uint32_t n = 0;
    for (size_t i = at; i < at + 4; ++i) n = n << 8 | static_cast<unsigned char>(payload.at(i));
    return n;
  }
  // Of RST_STREAM and GOAWAY.
  uint32_t error() const { return number(type == NGHTTP2_GOAWAY ? 4 : 0); }
};

std::string big_endian(uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload = "") {
  return big_endian(static_cast<uint32_t>(payload.size())).substr(1) + static_cast<char>(type) +
         static_cast<char>(flags) + big_endian(stream) + payload;
}

// HPACK: literal fields without indexing, no Huffman code (RFC 7541 §6.2.2).
std::string literal(const std::string& name, const std::string& value) {
  const auto text = [](const std::string& s) {
    std::string size;
    size_t rest = s.size();
    if (rest < 127) return static_cast<char>(rest) + s;
    size += '\x7f';
    for (rest -= 127; rest >= 128; rest /= 128) size += static_cast<char>(rest % 128 + 128);
    return size + static_cast<char>(rest) + s;
  };
  return '\0' + text(name) + text(value);
}

constexpr uint8_t kEndStream = NGHTTP2_FLAG_END_STREAM;
constexpr uint8_t kEndHeaders = NGHTTP2_FLAG_END_HEADERS;
constexpr uint8_t kAck = NGHTTP2_FLAG_ACK;

std::string head(const std::string& method, const std::string& path) {
  return literal(":method", method) + literal(":scheme", "https") + literal(":path", path) +
         literal(":authority", "localhost");
}

std::string get(uint32_t stream, const std::string& path = "/a") {
  return frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream, head("GET", path));
}

// As a proxy sends it for that client.
std::string get_for(const std::string& client, uint32_t stream, const std::string& path) {
  return frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream,
               head("GET", path) + literal("x-forwarded-for", client));
}

std::string put(uint32_t stream, const std::string& more_fields = "") {
  return frame(NGHTTP2_HEADERS, kEndHeaders, stream, head("PUT", "/a") + more_fields);
}

std::string reset(uint32_t stream) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, big_endian(NGHTTP2_CANCEL));
}

std::string setting(uint16_t id, uint32_t value) {
  return std::string(1, '\0') + static_cast<char>(id) + big_endian(value);
}

// Sends exactly the frames a test writes; the settings are not acknowledged.
class RawHttp2 {
 public:
  RawHttp2(uint16_t port, const std::filesystem::path& ca, const std::string& settings = "",
           int receive_buffer = 0)
      : client_(port, {.ca = ca, .protocols = {"h2"}, .receive_buffer = receive_buffer}) {
    EXPECT_EQ(client_.protocol(), "h2");
    nghttp2_hd_inflate_new(&inflater_);
    send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(NGHTTP2_SETTINGS, 0, 0, settings));
  }
  ~RawHttp2() { nghttp2_hd_inflate_del(inflater_); }
  RawHttp2(const RawHttp2&) = delete;
  RawHttp2& operator=(const RawHttp2&) = delete;

  void send(const std::string& bytes) { client_.try_send(bytes); }
  RawClient& raw() { return client_; }

  // The next frame; std::runtime_error at the end of the connection.
  Frame next() {
    const std::string begin = take(9);
    Frame f;
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(begin[i]); };
    f.type = byte(3);
    f.flags = byte(4);
    f.stream = static_cast<uint32_t>(byte(5) << 24 | byte(6) << 16 | byte(7) << 8 | byte(8));
    f.payload = take(static_cast<size_t>(byte(0) << 16 | byte(1) << 8 | byte(2)));
    if (f.type == NGHTTP2_HEADERS) inflate(f.payload);
    if (f.type == NGHTTP2_DATA) bodies_[f.stream] += f.payload;
    if (f.type <= NGHTTP2_HEADERS && (f.flags & kEndStream) != 0) ended_.insert(f.stream);
    return f;
  }
  // The next frame of that type, on any stream or on that one; others are skipped.
  Frame next(uint8_t type, uint32_t stream = 0) {
    while (true) {
      Frame f = next();
      if (f.type == type && (stream == 0 || f.stream == stream)) return f;
    }
  }
  // The status of the next response, whose HEADERS come first on that stream.
  std::string status(uint32_t stream) {
    next(NGHTTP2_HEADERS, stream);
    return fields_[":status"];
  }
  // Bytes of the body so far.
  size_t received(uint32_t stream) { return bodies_[stream].size(); }
  // Everything up to END_STREAM.
  std::string body(uint32_t stream) {
    while (!ended_.contains(stream)) {
      const Frame f = next();
      if (f.type == NGHTTP2_RST_STREAM && f.stream == stream) throw std::runtime_error("reset");
    }
    return bodies_[stream];
  }
  // The error of the GOAWAY that ends the connection, and that it does end.
  uint32_t wait_for_going_away() {
    const uint32_t error = next(NGHTTP2_GOAWAY).error();
    EXPECT_EQ(client_.wait_for_end(), End::clean);
    return error;
  }

 private:
  std::string take(size_t size) {
    while (buffer_.size() < size) {
      const std::string more = client_.receive();
      if (more.empty()) throw std::runtime_error("the connection has ended");
      buffer_ += more;
    }
    std::string taken = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return taken;
  }
  void inflate(const std::string& block) {
    fields_.clear();
    auto* in = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    while (true) {
      nghttp2_nv nv;
      int flags = 0;
      const ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, in, left, 1);
      ASSERT_GE(n, 0);
      in += n;
      left -= static_cast<size_t>(n);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        fields_[{reinterpret_cast<char*>(nv.name), nv.namelen}] = {
            reinterpret_cast<char*>(nv.value), nv.valuelen};
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
  }

  RawClient client_;
  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string buffer_;
  std::map<std::string, std::string> fields_;  // of the last HEADERS
  std::map<uint32_t, std::string> bodies_;
  std::set<uint32_t> ended_;
};

class Http2 : public testing::Test {
 protected:
  TestServerOptions with_tls(TestServerOptions options = {}) const {
    options.tls = std::make_shared<TlsContext>(
        TlsOptions{.certificates = {{.certificate = files_.certificate, .key = files_.key}}});
    return options;
  }
  const std::filesystem::path& ca() const { return ca_.certificate(); }

  const test::TempDir dir_;
  test::CertificateAuthority ca_{dir_.path(), "ca"};
  const test::CertificateFiles files_ = ca_.issue_server();
};

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
}  // namespace http

// HTTP/2 clients and the handlers they ask: curl for what ordinary clients do, raw frames for what
// only a broken or hostile one does.
#pragma once

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

namespace http::http2_test {
using namespace std::chrono_literals;
using test::Access;
using test::End;
using test::RawClient;
using test::TestServer;
using test::TestServerOptions;

// --- Handlers ----------------------------------------------------------------------------------

// Answers with what it got: method, path, Host, length of the body.
inline base::Task<void> describe(Exchange& e) {
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

inline base::Task<void> fail_midway(Exchange& e) {
  const bool sized = e.request.path == "/sized";
  co_await e.response.begin(200, {}, sized ? std::optional<uint64_t>(1000) : std::nullopt);
  co_await e.response.write("some");
  if (e.request.path == "/throws") throw std::runtime_error("in the middle");
}

inline base::Task<void> fail_first(Exchange& e) {
  if (e.request.path == "/throws") throw std::runtime_error("at once");
  co_return;
}

inline constexpr uint32_t kStreams = 100;
inline constexpr size_t kLarge = 3'000'000;

inline base::Task<void> send_large(Exchange& e) {
  const std::string block(kLarge, 'x');
  co_await e.response.begin(200, {}, block.size());
  co_await e.response.write(block);
  co_await e.response.finish();
}

inline base::Task<void> send_parts(Exchange* e) {
  const std::string block(1 << 20, 'x');
  co_await e->response.begin(200, {}, 16 * block.size());
  for (int i = 0; i < 16; ++i) co_await e->response.write(block);
  co_await e->response.finish();
}

inline base::Task<void> send_parts_to(Exchange& e) { return send_parts(&e); }

inline base::Task<void> send_unbounded(Exchange& e) {
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

inline std::string big_endian(uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
          static_cast<char>(n)};
}

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream,
                         const std::string& payload = "") {
  return big_endian(static_cast<uint32_t>(payload.size())).substr(1) + static_cast<char>(type) +
         static_cast<char>(flags) + big_endian(stream) + payload;
}

// HPACK: literal fields without indexing, no Huffman code (RFC 7541 §6.2.2).
inline std::string literal(const std::string& name, const std::string& value) {
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

inline constexpr uint8_t kEndStream = NGHTTP2_FLAG_END_STREAM;
inline constexpr uint8_t kEndHeaders = NGHTTP2_FLAG_END_HEADERS;
inline constexpr uint8_t kAck = NGHTTP2_FLAG_ACK;

inline std::string head(const std::string& method, const std::string& path) {
  return literal(":method", method) + literal(":scheme", "https") + literal(":path", path) +
         literal(":authority", "localhost");
}

inline std::string get(uint32_t stream, const std::string& path = "/a") {
  return frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream, head("GET", path));
}

// As a proxy sends it for that client.
inline std::string get_for(const std::string& client, uint32_t stream, const std::string& path) {
  return frame(NGHTTP2_HEADERS, kEndStream | kEndHeaders, stream,
               head("GET", path) + literal("x-forwarded-for", client));
}

inline std::string put(uint32_t stream, const std::string& more_fields = "") {
  return frame(NGHTTP2_HEADERS, kEndHeaders, stream, head("PUT", "/a") + more_fields);
}

inline std::string reset(uint32_t stream) {
  return frame(NGHTTP2_RST_STREAM, 0, stream, big_endian(NGHTTP2_CANCEL));
}

inline std::string setting(uint16_t id, uint32_t value) {
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

}  // namespace http::http2_test

// FakeUpstream: an origin that misbehaves on demand, in the manner of Varnish's test scripts. Real
// sockets, one thread per connection, plain or TLS, HTTP/1.1 with keep-alive.
//
//   FakeUpstream up;
//   up.serve_blob("/v2/a/blobs/sha256:…", bytes);            // what every request gets …
//   up.script("/v2/a/blobs/sha256:…",                        // … but the first
//             {step::expect_no_header("Range"), step::send_upto(1000), step::stall("half"),
//              step::reset()});
//   … up.wait_stalled("half"); … up.release("half"); …
//   EXPECT_EQ(up.bytes_sent("/v2/a/blobs/sha256:…"), …);
//
// A script starts from the answer the path has by default (the blob, or the range asked for; 404
// without one); its steps change the answer, send parts of it, wait and break it. What is unsent
// when the script ends is sent then. Expectations that fail are test failures.
//
// Thread-safe. The destructor ends every connection and stall.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace test {

class FakeUpstream {
 public:
  struct Options {
    std::filesystem::path certificate;  // TLS if set
    std::filesystem::path key;
    std::filesystem::path client_ca;  // demand a client certificate of this authority
  };

  // What has been asked and how far the answer has gone.
  struct Seen {
    std::string method;
    std::string target;
    http::Headers headers;
    std::string range;        // the Range header, or empty
    size_t connection = 0;    // counted from 0
    int status = 0;           // 0 before the answer's head
    uint64_t bytes_sent = 0;  // of the body
    bool complete = false;    // the whole answer has been written
  };

  class Exchange;
  using Step = std::function<void(Exchange&)>;
  using Script = std::vector<Step>;

  FakeUpstream();
  explicit FakeUpstream(Options options);
  ~FakeUpstream();
  FakeUpstream(const FakeUpstream&) = delete;

  // "https://localhost:4711"; 127.0.0.1 if it is not TLS.
  std::string url() const;
  uint16_t port() const;

  // What GET and HEAD of this path give, with Range, If-Range and an ETag of the path's last part
  // unless the headers have one (an empty one: none).
  void serve_blob(const std::string& path, std::string bytes, http::Headers headers = {});
  // The next request for this path that has no script yet gets this one.
  void script(const std::string& path, Script script);

  std::vector<Seen> requests() const;
  // Requests for this path and body bytes sent in answer to them.
  size_t count(std::string_view path) const;
  uint64_t bytes_sent(std::string_view path) const;
  size_t connections() const;

  // These wait for something to happen; std::runtime_error if it does not within two minutes.
  void wait_for_requests(size_t count) const;
  void wait_complete(size_t requests) const;
  // Until so many scripts have come to the stall.
  void wait_stalled(const std::string& stall, size_t scripts = 1) const;

  // Lets the scripts at this stall, now and later, go on.
  void release(const std::string& stall);

  // Dies: stops listening and cuts every connection. start() listens again on the same port, which
  // nobody else gets between.
  void stop();
  void start();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

namespace step {

using Step = FakeUpstream::Step;

Step expect_method(std::string method);
Step expect_header(std::string name, std::string value);
Step expect_no_header(std::string name);

// The answer, instead of the path's own.
Step respond(int status, http::Headers headers = {}, std::string body = {});
Step redirect(std::string_view location, int status = 302);
// Changes to the answer.
Step add_header(std::string name, std::string value);
Step ignore_range();                 // 200 and the whole blob
Step claim_length(uint64_t length);  // a Content-Length that lies; the connection closes after it
Step no_length();                    // neither a length nor chunked: the body ends with a FIN
Step chunked();                      // Transfer-Encoding instead of Content-Length
Step corrupt(uint64_t offset);       // flips a bit of this byte of the blob

// Writes the bytes as they are, e.g. an interim response.
Step raw(std::string bytes);
// Writes the head.
Step send_head();
// Writes the head, if it is not yet written, and the body up to this byte of it.
Step send_upto(uint64_t bytes);
// Waits for release() of this name.
Step stall(std::string name);
// Ends the connection: orderly, with what has been written …
Step close();
// … or by a reset, which may overtake it.
Step reset();

}  // namespace step
}  // namespace test

// The HTTP client: streaming transfers by libcurl's multi interface on one event loop. Behind it
// are curl_multi and curl_transfer, and beside those and url nobody sees curl.
//
// A Client and its transfers live on one loop. Connections are kept and reused. TLS is always
// verified. No redirect is followed, no proxy from the environment used, no content coding asked
// for. There is a limit on connecting, on the first byte and on stalling, never on a whole
// transfer.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "http/message.h"

namespace http {

struct ClientOptions {
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(5);
  std::chrono::nanoseconds first_byte_timeout = std::chrono::seconds(30);  // to the response's head
  std::chrono::nanoseconds stall_timeout = std::chrono::seconds(30);  // no body byte for so long
  // What a transfer holds: one half is read while the other arrives. Paused while that is full.
  size_t buffer_bytes = 1 << 20;
  size_t max_connections = 64;        // to one host; more transfers wait
  std::filesystem::path ca_file;      // empty: the system's authorities
  std::filesystem::path certificate;  // client certificate and key, or empty
  std::filesystem::path key;
  std::string user_agent;
  // HTTP/2 where a TLS server offers it: transfers then share connections, and max_connections
  // limits those. A paused transfer may then hold more than buffer_bytes, up to curl's window of
  // 32 MiB, and large bodies come slower than by HTTP/1.1 (a fifth to a quarter, curl 7.88).
  bool http2 = false;

  bool operator==(const ClientOptions&) const = default;
};

struct ClientRequest {
  std::string method = "GET";  // GET, HEAD or POST
  std::string url;
  Headers headers;
  std::string body;              // of a POST; sent at once, without waiting for "100 Continue"
  bool show_certificate = true;  // ClientOptions::certificate, if the server asks for one
  // Says whether the request may go to this address (numeric), asked of every connection before it
  // is made, and before one that is there is used. Empty: to any.
  std::function<bool(const std::string& address)> may_connect;
};

// A transfer that could not begin or broke off.
class TransferError : public std::runtime_error {
 public:
  enum class Kind {
    unreachable /* resolve, connect */,
    tls,
    timed_out,
    broken /* closed, reset, short or malformed */
  };
  TransferError(Kind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// A response whose head has arrived. Destroying it before its end closes the transfer.
class ClientResponse {
 public:
  virtual ~ClientResponse() = default;
  virtual int status() const = 0;
  virtual const Headers& headers() const = 0;
  virtual std::optional<uint64_t> content_length() const = 0;
  // The next bytes, all that have arrived but no more than ClientOptions::buffer_bytes, valid until
  // the next call; empty at a clean end. TransferError if the transfer breaks or stalls, once what
  // had arrived before is read.
  virtual base::Task<std::string_view> read() = 0;
  // For who has read all that matters: waits for the end, so that the connection can be used again,
  // but for no longer than this. Something else may come instead; nothing is thrown.
  virtual base::Task<void> wait_for_end(std::chrono::nanoseconds most) = 0;
};

class Client {
 public:
  Client(base::EventLoop& loop, ClientOptions options);
  // No transfer may be open.
  ~Client();
  Client(const Client&) = delete;

  // Sends the request and returns when the response's head is there. 1xx are skipped, 3xx are
  // returned as they are. TransferError on failure.
  base::Task<std::unique_ptr<ClientResponse>> fetch(ClientRequest request);

  // Fails every transfer that is open, and every later one, with TransferError::broken: how a
  // shutdown ends the coroutines that wait here.
  void abort();

  // Connections opened so far; for tests of reuse.
  uint64_t connections_opened() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace http

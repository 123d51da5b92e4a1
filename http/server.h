// The HTTP server: listeners on every worker loop (SO_REUSEPORT), HTTP/1.1 and, over TLS,
// HTTP/2 connections, limits, access log and drain. Knows no OCI: what a request means is the
// handler's business.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop_group.h"
#include "base/thread_pool.h"
#include "http/address_limits.h"
#include "http/body.h"
#include "http/forwarded.h"
#include "http/listener.h"
#include "http/message.h"
#include "http/network.h"
#include "http/tls.h"

namespace http {

struct ServerLimits {
  size_t max_header_bytes = 16 << 10;  // request line and header fields; more is 431
  // Over all loops. For one more, the connection of its loop that has been idle longest is closed;
  // if none is, or a sixteenth more are open, itself.
  size_t max_connections = 10'000;
  size_t max_requests_in_flight = 4'096;  // over all loops; more get 503 with Retry-After
  std::chrono::nanoseconds header_timeout =
      std::chrono::seconds(10);  // whole head, and TLS handshake
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(75);  // between requests
  // What a client must bring of a request's body and take of a response on average, in bytes a
  // second, over so much time in which it is waited for (see Pace). A slower one is answered 408,
  // or reset.
  std::chrono::nanoseconds body_timeout = std::chrono::seconds(60);
  uint64_t min_body_rate = 1 << 10;
  std::chrono::nanoseconds send_timeout = std::chrono::seconds(60);
  uint64_t min_send_rate = 1 << 10;

  // Of each client address; 0: no limit. More connections are closed at once, more requests get 429
  // with Retry-After.
  size_t max_connections_per_address = 0;
  // Half of all: no address takes every place.
  size_t max_requests_in_flight_per_address = 2'048;
  RequestRate request_rate_per_address;
  std::vector<Network> unlimited;  // addresses without these limits
  // Whose X-Forwarded-For or Forwarded names the client; 400 if they do not name one. Their own
  // connections are not limited.
  TrustedProxies trusted_proxies;

  // The most bytes a second that are sent; 0: no limit.
  uint64_t connection_bandwidth = 0;
  uint64_t total_bandwidth = 0;
};

// One finished exchange, for the access log.
struct AccessRecord {
  const Request& request;
  int status;
  uint64_t body_bytes;
  std::chrono::nanoseconds duration;
  const Headers& response_headers;
  bool complete;               // false: the connection broke before the response was whole
  uint64_t request_bytes = 0;  // of the request's body, as far as it was read
};

struct ServerOptions {
  ServerLimits limits;
  Handler handler;
  // Makes the response for an exception that left the handler, or for a request refused before it
  // (StatusError). The server logs nothing about these itself.
  std::function<Response(const Request*, std::exception_ptr)> on_error;
  std::function<void(const AccessRecord&)> on_access;  // may be empty
};

struct Listen {
  // "host:port", ":port" for every address, "[::1]:port", or "unix:/path". Port 0 picks one.
  std::string address;
  std::shared_ptr<TlsContext> tls;  // nullptr: plain
  // Listening sockets that are there already, taken instead of the address; they stay their
  // owner's, and open.
  std::vector<int> inherited;
};

class Server {
 public:
  // Binds, so that a bad address is known at once (base::IoError), and serves after start(). The
  // loops and the pool must outlive the server.
  Server(base::LoopGroup& loops, base::ThreadPool& pool, ServerOptions options,
         const std::vector<Listen>& listens);
  ~Server();

  void start();
  // Accepts nothing for a while: who connects waits. Not from a loop's thread, like the next.
  void pause();
  void resume();
  // Copies of the sockets that it listens on, for another process to accept from them. Not after
  // drain().
  std::vector<ListeningSockets> listening() const;
  // Another process has them, and goes on listening when this one ends.
  void leave_sockets();
  // Other limits: for the connections that come from now on, and as far as they count connections
  // or requests for all. Any thread.
  void set_limits(ServerLimits limits);
  // Stops accepting, closes idle connections, lets exchanges in flight end, then resets what is
  // left at the deadline. `at_deadline` is called then, before that, to end what handlers wait for
  // besides their connection; drain returns only when every handler has returned. Blocks; call from
  // a thread that runs no worker loop. Returns the number of connections that had to be reset.
  size_t drain(std::chrono::nanoseconds limit, const std::function<void()>& at_deadline = {});

  // The port bound for the i-th Listen.
  uint16_t port(size_t i = 0) const;
  // Where the i-th Listen listens, for people: "127.0.0.1:5000", or as its address was given.
  std::string address(size_t i = 0) const;
  size_t connections() const;
  // TLS handshakes that came to nothing, so far.
  uint64_t failed_handshakes() const;
  // Connections closed and requests refused because an address had too many, so far.
  uint64_t limited_connections() const;
  uint64_t limited_requests() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace http

// One HTTP/1.1 connection of the server: reads requests, runs the handler, decides whether there is
// a next one. Lives on one loop.
#pragma once

#include <atomic>
#include <memory>

#include "base/event_loop.h"
#include "base/thread_pool.h"
#include "http/http1_body.h"
#include "http/http1_response.h"
#include "http/input_buffer.h"
#include "http/request_parser.h"
#include "http/server.h"
#include "http/transport.h"

namespace http {

// What all connections of a server share, on all loops.
struct ServerState {
  const ServerOptions options;
  base::ThreadPool& pool;
  std::atomic<size_t> connections = 0;
  std::atomic<size_t> requests_in_flight = 0;
  std::atomic<uint64_t> failed_handshakes = 0;
};

class Http1Connection {
 public:
  Http1Connection(base::EventLoop& loop, ServerState& server, std::unique_ptr<Transport> transport,
                  Peer peer);

  // Serves the connection to its end. Throws nothing. The object must outlive it, and the socket is
  // closed with the object.
  base::Task<void> run();

  // Ends the connection now if it is idle, else after the exchange in progress.
  void finish();
  // Ends it at once, by a reset. An exchange in progress fails at its next read or write.
  void reset() { transport_->reset(); }

 private:
  base::Task<bool> shake_hands();
  base::Task<void> serve_one();
  base::Task<bool> read_head(Request& request);
  base::Task<void> refuse(const Request& request, std::exception_ptr why);
  base::Task<void> exchange(Request& request);
  base::Task<void> answer(Request& request, Http1Body& body, Http1Response& response);
  void record(const Request& request, uint64_t request_bytes, const Http1Response& response,
              base::TimePoint begun) const;

  base::EventLoop& loop_;
  ServerState& server_;
  const std::unique_ptr<Transport> transport_;
  Peer peer_;
  RequestParser parser_;
  InputBuffer input_;
  bool keep_alive_ = true;           // another request may follow
  bool finishing_ = false;           // finish() was called
  bool idle_ = false;                // nothing would be lost by ending the wait
  bool peer_may_be_sending_ = true;  // a request that is not read to its end
  unsigned served_ = 0;
};

}  // namespace http

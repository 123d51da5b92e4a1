// One HTTP/1.1 connection of the server: reads requests, runs the handler, decides whether there is
// a next one. Lives on one loop.
#pragma once

#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "http/connection.h"
#include "http/http1_body.h"
#include "http/http1_response.h"
#include "http/input_buffer.h"
#include "http/request_parser.h"
#include "http/transport.h"

namespace http {

class Http1Connection : public Connection {
 public:
  // `transport` is past its handshake.
  Http1Connection(base::EventLoop& loop, ServerState& server, IdleConnections& idle,
                  std::shared_ptr<const ServerLimits> limits, std::unique_ptr<Transport> transport,
                  Peer peer);
  ~Http1Connection() override;

  base::Task<void> run() override;
  void finish() override;
  bool make_room() override;
  void reset() override { transport_->reset(); }

 private:
  base::Task<void> serve_one();
  base::Task<bool> read_head(Request& request);
  base::Task<void> refuse(const Request& request, std::exception_ptr why);
  base::Task<void> exchange(Request& request);

  base::EventLoop& loop_;
  ServerState& server_;
  IdleConnections& idle_connections_;
  const std::shared_ptr<const ServerLimits> limits_;
  const std::unique_ptr<Transport> transport_;
  Peer peer_;
  RequestParser parser_;
  InputBuffer input_;
  bool keep_alive_ = true;           // another request may follow
  bool finishing_ = false;           // finish() was called
  bool peer_may_be_sending_ = true;  // a request that is not read to its end
  // While nothing would be lost by ending the wait.
  std::optional<IdleConnections::Wait> idle_;
  unsigned served_ = 0;
  std::optional<base::EventLoop::Timer> grace_;  // for the first request, once finishing
};

}  // namespace http

// A connection just accepted: shakes hands, and is from then on the connection of the version of
// HTTP that was agreed on. Lives on one loop.
#pragma once

#include <memory>
#include <optional>

#include "base/event_loop.h"
#include "http/connection.h"
#include "http/transport.h"

namespace http {

class AcceptedConnection : public Connection {
 public:
  // `idle` are those of the loop; they must outlive the connection, like the others.
  AcceptedConnection(base::EventLoop& loop, ServerState& server, IdleConnections& idle,
                     std::shared_ptr<const ServerLimits> limits,
                     std::unique_ptr<Transport> transport, Peer peer);

  base::Task<void> run() override;
  void finish() override;
  bool make_room() override {
    transport_->reset();
    return true;
  }
  void reset() override;

 private:
  base::Task<bool> shake_hands();

  base::EventLoop& loop_;
  ServerState& server_;
  IdleConnections& idle_connections_;
  const std::shared_ptr<const ServerLimits> limits_;
  std::unique_ptr<Transport> transport_;  // until version_ has it
  Peer peer_;
  std::unique_ptr<Connection> version_;
  // Until then it has asked for nothing, and is idle.
  std::optional<IdleConnections::Wait> idle_;
  bool finishing_ = false;
};

}  // namespace http

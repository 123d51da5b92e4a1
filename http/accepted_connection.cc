#include "http/accepted_connection.h"

#include "http/http1_connection.h"
#include "http/http2_connection.h"

namespace http {

AcceptedConnection::AcceptedConnection(base::EventLoop& loop, ServerState& server,
                                       IdleConnections& idle,
                                       std::shared_ptr<const ServerLimits> limits,
                                       std::unique_ptr<Transport> transport, Peer peer)
    : loop_(loop),
      server_(server),
      idle_connections_(idle),
      limits_(std::move(limits)),
      transport_(std::move(transport)),
      peer_(std::move(peer)) {}

base::Task<void> AcceptedConnection::run() {
  idle_.emplace(idle_connections_, *this);
  try {
    const bool open = co_await shake_hands();
    if (!open) {
      co_await transport_->close(/*peer_may_be_sending=*/true);
      co_return;
    }
  } catch (const ConnectionError&) {
    transport_->reset();
    co_return;
  }
  idle_.reset();
  if (transport_->protocol() == "h2") {
    version_ = std::make_unique<Http2Connection>(loop_, server_, idle_connections_, limits_,
                                                 std::move(transport_), peer_);
  } else {
    version_ = std::make_unique<Http1Connection>(loop_, server_, idle_connections_, limits_,
                                                 std::move(transport_), peer_);
  }
  if (finishing_) version_->finish();
  co_await version_->run();
}

// False if there is no connection to serve, but an alert that should still reach the peer.
base::Task<bool> AcceptedConnection::shake_hands() {
  try {
    co_await transport_->handshake(peer_, loop_.after(limits_->header_timeout));
  } catch (const TimedOut&) {
    ++server_.failed_handshakes;
    throw;
  } catch (const ConnectionError&) {
    ++server_.failed_handshakes;
    co_return false;
  }
  co_return true;
}

void AcceptedConnection::finish() {
  finishing_ = true;
  if (version_) version_->finish();
}

void AcceptedConnection::reset() {
  if (version_) {
    version_->reset();
  } else {
    transport_->reset();
  }
}

}  // namespace http

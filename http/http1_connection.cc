#include "http/http1_connection.h"

#include <algorithm>

#include "http/exchange.h"

namespace http {
namespace {

// Most heads fit; the buffer grows up to the limit for those that do not.
constexpr size_t kFirstRead = 4 << 10;
// Pipelined requests served before the loop's other connections have their turn.
constexpr unsigned kTurnRequests = 32;

// Who has just connected when the server begins to end may have its request on the way.
constexpr std::chrono::seconds kFirstRequestGrace(1);

}  // namespace

Http1Connection::Http1Connection(base::EventLoop& loop, ServerState& server, IdleConnections& idle,
                                 std::shared_ptr<const ServerLimits> limits,
                                 std::unique_ptr<Transport> transport, Peer peer)
    : loop_(loop),
      server_(server),
      idle_connections_(idle),
      limits_(std::move(limits)),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      parser_(limits_->max_header_bytes) {}

void Http1Connection::finish() {
  finishing_ = true;
  keep_alive_ = false;
  if (!idle_) return;
  if (served_ > 0) {
    // What has been sent must still arrive, so only the wait ends.
    transport_->interrupt_read();
  } else if (!grace_) {
    grace_ = loop_.add_timer(loop_.after(kFirstRequestGrace), [this] {
      grace_.reset();
      if (idle_) transport_->interrupt_read();
    });
  }
}

bool Http1Connection::make_room() {
  const bool at_once = !transport_->much_is_untaken();
  finishing_ = true;
  keep_alive_ = false;
  transport_->interrupt_read();
  return at_once;
}

Http1Connection::~Http1Connection() {
  if (grace_) loop_.cancel_timer(*grace_);
}

base::Task<void> Http1Connection::run() {
  try {
    do {
      co_await serve_one();
    } while (keep_alive_);
    if (!idle_) idle_.emplace(idle_connections_, *this);
    co_await transport_->close(peer_may_be_sending_);
  } catch (const ConnectionError&) {
    // Gone, too slow, or an answer that must not look whole.
    transport_->reset();
  }
}

base::Task<void> Http1Connection::serve_one() {
  Request request;
  request.peer = peer_;
  std::exception_ptr refusal;
  try {
    const bool begun = co_await read_head(request);
    if (!begun) {
      keep_alive_ = false;
      peer_may_be_sending_ = false;
      co_return;
    }
  } catch (const StatusError&) {
    refusal = std::current_exception();
  }
  if (refusal) {
    co_await refuse(request, refusal);
  } else {
    co_await exchange(request);
  }
  if (++served_ % kTurnRequests == 0) co_await loop_.yield();
}

// False if the client wants nothing more.
base::Task<bool> Http1Connection::read_head(Request& request) {
  const ServerLimits& limits = *limits_;
  parser_.reset();
  if (input_.empty()) {
    input_.release();
    // Who connects has something to ask; only between requests may it take its time.
    base::Duration patience = served_ == 0 ? limits.header_timeout : limits.idle_timeout;
    if (finishing_) patience = kFirstRequestGrace;
    idle_.emplace(idle_connections_, *this);
    try {
      co_await transport_->wait_readable(loop_.after(patience));
    } catch (const ConnectionError&) {
      co_return false;
    }
    idle_.reset();
  }
  const base::TimePoint deadline = loop_.after(limits.header_timeout);
  while (true) {
    const size_t length = parser_.parse_head(input_.bytes(), request);
    if (length > 0) {
      input_.consume(length);
      co_return true;
    }
    input_.make_room(std::max(kFirstRead, 2 * input_.bytes().size()));
    size_t n = 0;
    try {
      n = co_await transport_->read(input_.room(), input_.room_size(), deadline);
    } catch (const TimedOut&) {
      if (input_.empty()) co_return false;
      throw StatusError(408, "the request's head did not come in time");
    }
    if (n == 0) co_return false;
    input_.added(n);
  }
}

// Answers a head that cannot be served; where the next one would begin is unknown.
base::Task<void> Http1Connection::refuse(const Request& request, std::exception_ptr why) {
  keep_alive_ = false;
  Http1Response response(server_.pool, *transport_, nullptr, request, keep_alive_);
  const base::TimePoint begun = loop_.now();
  Response error = server_.options.on_error(nullptr, why);
  co_await response.send(std::move(error));
  record(server_, request, 0, response, loop_.now() - begun);
}

base::Task<void> Http1Connection::exchange(Request& request) {
  const ServerLimits& limits = *limits_;
  keep_alive_ = parser_.keep_alive() && !finishing_;
  peer_may_be_sending_ = true;
  Http1Body body(loop_, *transport_, parser_, input_, {limits.body_timeout, limits.min_body_rate},
                 expects_continue(request));
  Http1Response response(server_.pool, *transport_, &body, request, keep_alive_);
  const base::TimePoint begun = loop_.now();
  co_await answer(server_, request, body, response);
  record(server_, request, body.received(), response, loop_.now() - begun);
  if (!response.complete()) throw ConnectionError("the response was not completed");

  if (keep_alive_) {
    try {
      keep_alive_ = co_await body.discard(loop_.after(limits.header_timeout));
    } catch (const ConnectionError&) {
      keep_alive_ = false;
    } catch (const StatusError&) {
      keep_alive_ = false;
    }
  }
  if (finishing_) keep_alive_ = false;
  peer_may_be_sending_ = !parser_.done();
}

}  // namespace http

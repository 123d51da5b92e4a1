#include "http/http2_connection.h"

#include <glog/logging.h>

#include <algorithm>

#include "http/exchange.h"
#include "http/http2_body.h"
#include "http/http2_response.h"
#include "http/request_target.h"

namespace http {
namespace {

constexpr size_t kReadBytes = 64 << 10;
// Read by one connection before the loop's other connections have their turn.
constexpr size_t kReadTurnBytes = 1 << 20;
// What HPACK may make small counts in full (RFC 9113 §6.5.2).
constexpr size_t kFieldOverhead = 32;

// The authority a request names, as its Host (RFC 9113 §8.3.1). StatusError if there are two.
void set_host(const std::string& authority, Request& request) {
  const auto hosts = std::count_if(request.headers.begin(), request.headers.end(),
                                   [](const auto& field) { return iequals(field.name, "Host"); });
  if (hosts > 1) throw StatusError(400, "more than one Host");
  if (hosts == 0) {
    request.headers.add("Host", authority);
  } else if (!authority.empty() && !iequals(authority, *request.headers.get("Host"))) {
    throw StatusError(400, ":authority and Host name different servers");
  }
  if (!is_valid_host(*request.headers.get("Host"))) throw StatusError(400, "bad Host");
}

// What a client must take of a response: as much as by HTTP/1.1, or a place among the requests in
// flight would cost it less. But what it takes of the others makes up for one that it leaves for a
// while. No more than our own limits on what is sent leave for it if all that may be are.
LeastPace least_of_response(const ServerLimits& limits) {
  constexpr uint64_t kShares = 2 * Http2Session::kMaxStreams;
  uint64_t rate = limits.min_send_rate;
  if (limits.connection_bandwidth > 0) rate = std::min(rate, limits.connection_bandwidth / kShares);
  if (limits.total_bandwidth > 0) {
    rate = std::min(rate, limits.total_bandwidth / limits.max_requests_in_flight / kShares);
  }
  return {limits.send_timeout, rate};
}

}  // namespace

struct Http2Connection::Stream {
  Stream(Http2Connection& c, int32_t id)
      : body(c.loop_, c.session_, id, {c.limits_->body_timeout, c.limits_->min_body_rate}, request),
        response(c.loop_, c.server_.pool, c.session_, body, id, least_of_response(*c.limits_),
                 c.paces_, request) {
    request.version = Version::http2;
    request.peer = c.peer_;
  }

  Request request;
  std::string path;
  std::string authority;
  size_t head_bytes = 0;
  std::exception_ptr refusal;  // the head cannot be served
  Http2Body body;
  Http2Response response;
  bool started = false;  // its handler runs
};

Http2Connection::Http2Connection(base::EventLoop& loop, ServerState& server, IdleConnections& idle,
                                 std::shared_ptr<const ServerLimits> limits,
                                 std::unique_ptr<Transport> transport, Peer peer)
    : loop_(loop),
      server_(server),
      idle_connections_(idle),
      limits_(std::move(limits)),
      transport_(std::move(transport)),
      peer_(std::move(peer)),
      session_(loop, *this, limits_->max_header_bytes) {}

Http2Connection::~Http2Connection() = default;

void Http2Connection::finish() {
  if (std::exchange(finishing_, true)) return;
  if (closing_) {
    // What has been sent must still arrive, so only the wait for what is not ends.
    transport_->interrupt_read();
  } else if (streams_.empty()) {
    session_.go_away();
  } else {
    session_.drain();
  }
}

bool Http2Connection::make_room() {
  const bool at_once = !transport_->much_is_untaken();
  making_room_ = true;
  finish();
  return at_once;
}

void Http2Connection::reset() {
  broken_ = true;
  transport_->reset();
  session_.output_ready().notify();
  written_.notify();
}

base::Task<void> Http2Connection::run() {
  // Who connects has something to ask; only between requests may it take its time.
  idle_until_ = loop_.after(limits_->header_timeout);
  set_timer();
  writer_.spawn(write_frames());
  try {
    co_await read_frames();
  } catch (const ConnectionError&) {
    if (!writing_ended_) broken_ = true;
  }
  break_off_streams();
  reading_ended_ = true;
  session_.output_ready().notify();
  co_await writer_.join();
  try {
    closing_ = true;
    if (!broken_) co_await transport_->close(!peer_left_ && !making_room_);
  } catch (const ConnectionError&) {
    broken_ = true;
  }
  if (broken_) transport_->reset();
  // Last, for a handler may have to wait for something else first.
  co_await handlers_.join();
  if (timer_) loop_.cancel_timer(*std::exchange(timer_, std::nullopt));
}

base::Task<void> Http2Connection::read_frames() {
  size_t read_in_turn = 0;
  while (!writing_ended_ && !broken_) {
    const base::Signal::Ticket ticket = written_.ticket();
    if (session_.congested()) {
      co_await written_.wait(ticket);
      continue;
    }
    co_await transport_->wait_readable(base::kForever);
    // Not kept: a connection that waits holds no buffer.
    const auto buffer = std::make_unique_for_overwrite<char[]>(kReadBytes);
    const size_t n = co_await transport_->read(buffer.get(), kReadBytes, base::kForever);
    peer_left_ = n == 0;
    if (peer_left_) co_return;
    session_.receive({buffer.get(), n});
    start_requests();
    set_timer();
    read_in_turn += n;
    if (read_in_turn >= kReadTurnBytes) {
      read_in_turn = 0;
      co_await loop_.yield();
    }
  }
}

base::Task<void> Http2Connection::write_frames() {
  try {
    while (!broken_) {
      const base::Signal::Ticket ticket = session_.output_ready().ticket();
      const std::string_view bytes = session_.output();
      if (!bytes.empty()) {
        const Transport::Parts parts{bytes};
        co_await transport_->write(parts);
        written_.notify();
        continue;
      }
      if (reading_ended_ || session_.finished()) break;
      co_await session_.output_ready().wait(ticket);
    }
  } catch (const ConnectionError&) {
    broken_ = true;
  }
  writing_ended_ = true;
  written_.notify();
  transport_->interrupt_read();
}

void Http2Connection::start_requests() {
  for (const int32_t id : std::exchange(arrived_, {})) {
    Stream* const stream = find(id);
    if (stream == nullptr) continue;  // reset at once
    stream->started = true;
    handlers_.spawn(serve(id));
  }
}

base::Task<void> Http2Connection::serve(int32_t id) {
  Stream* const stream = find(id);
  const base::TimePoint begun = loop_.now();
  if (stream->refusal) {
    co_await refuse(stream);
  } else {
    co_await answer(server_, stream->request, stream->body, stream->response);
  }
  record(server_, stream->request, stream->body.received(), stream->response, loop_.now() - begun);
  if (!stream->response.complete()) {
    // Never END_STREAM, or the client would take a cut body for a whole one.
    session_.reset(id, Http2Error::internal_error);
  } else if (!stream->body.ended()) {
    session_.reset(id, Http2Error::no_error);  // RFC 9113 §8.1: the rest need not be sent
  }
  stream->body.discard();
  streams_.erase(id);
  if (streams_.empty()) {
    idle_until_ = loop_.after(limits_->idle_timeout);
    if (finishing_) session_.go_away();
  }
  set_timer();
}

base::Task<void> Http2Connection::refuse(Stream* stream) {
  Response error = server_.options.on_error(nullptr, stream->refusal);
  try {
    co_await stream->response.send(std::move(error));
  } catch (const ConnectionError& e) {
    // The caller sees that the response is not complete.
    VLOG(1) << "an error response did not reach its client: " << e.what();
  }
}

void Http2Connection::break_off_streams() {
  std::vector<int32_t> ids;
  ids.reserve(streams_.size());
  for (const auto& [id, stream] : streams_) ids.push_back(id);
  for (const int32_t id : ids) close_stream(id);
}

void Http2Connection::set_timer() {
  base::TimePoint at = base::kForever;
  bool idle = false;
  if (const std::optional<base::TimePoint> since = session_.head_open_since(); since) {
    at = *since + limits_->header_timeout;
  } else if (streams_.empty()) {
    at = idle_until_;
    idle = true;
  }
  if (!idle) idle_.reset();
  if (idle && !idle_) idle_.emplace(idle_connections_, *this);
  if (at == timer_at_) return;
  timer_at_ = at;
  if (timer_) loop_.cancel_timer(*std::exchange(timer_, std::nullopt));
  if (at == base::kForever) return;
  timer_ = loop_.add_timer(at, [this] {
    timer_.reset();
    session_.terminate(session_.head_open_since() ? Http2Error::protocol_error
                                                  : Http2Error::no_error);
  });
}

Http2Connection::Stream* Http2Connection::find(int32_t id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

// --- Events of the session ---------------------------------------------------------------------

bool Http2Connection::begin_request(int32_t id) {
  // A stream that was reset counts until its handler has returned, or a client could start any
  // number of them. One that was answered in full does not: its handler is about to return.
  if (streams_.size() >= Http2Session::kMaxStreams) {
    const auto busy = std::count_if(streams_.begin(), streams_.end(), [](const auto& entry) {
      return !entry.second->response.complete();
    });
    if (static_cast<size_t>(busy) >= Http2Session::kMaxStreams) return false;
  }
  streams_.emplace(id, std::make_unique<Stream>(*this, id));
  return true;
}

void Http2Connection::add_field(int32_t id, std::string_view name, std::string_view value) {
  Stream* const stream = find(id);
  if (stream == nullptr) return;
  stream->head_bytes += name.size() + value.size() + kFieldOverhead;
  Headers& headers = stream->request.headers;
  if (stream->head_bytes > limits_->max_header_bytes || headers.size() == kMaxFields) {
    stream->head_bytes = SIZE_MAX / 2;  // nothing more is kept
  } else if (name == ":method") {
    stream->request.method = value;
  } else if (name == ":path") {
    stream->path = value;
  } else if (name == ":authority") {
    stream->authority = value;
  } else if (!name.starts_with(':')) {
    headers.add(name, value);
  }
}

void Http2Connection::end_head(int32_t id) {
  Stream* const stream = find(id);
  if (stream == nullptr) return;
  try {
    if (stream->head_bytes > limits_->max_header_bytes) {
      throw StatusError(431, "the request's head is too large");
    }
    set_host(stream->authority, stream->request);
    set_target(stream->path, stream->request);
  } catch (const StatusError&) {
    stream->refusal = std::current_exception();
  }
  arrived_.push_back(id);
}

bool Http2Connection::add_body(int32_t id, std::string_view bytes) {
  Stream* const stream = find(id);
  if (stream == nullptr) return false;
  stream->body.add(bytes);
  return true;
}

void Http2Connection::end_body(int32_t id) {
  if (Stream* const stream = find(id); stream != nullptr) stream->body.end();
}

void Http2Connection::close_stream(int32_t id) {
  Stream* const stream = find(id);
  if (stream == nullptr) return;
  if (!stream->started) {
    streams_.erase(id);
    return;
  }
  stream->body.break_off();
  stream->response.break_off();
}

Http2Output Http2Connection::pending(int32_t id) {
  Stream* const stream = find(id);
  return stream == nullptr ? Http2Output{} : stream->response.pending();
}

void Http2Connection::sent(int32_t id, size_t count) {
  if (Stream* const stream = find(id); stream != nullptr) stream->response.sent(count);
}

void Http2Connection::sent_end(int32_t id) {
  if (Stream* const stream = find(id); stream != nullptr) stream->response.sent_end();
}

}  // namespace http

#include "http/http2_body.h"

#include <charconv>

#include "http/exchange.h"

namespace http {

Http2Body::Http2Body(base::EventLoop& loop, Http2Session& session, int32_t stream, LeastPace least,
                     const Request& request)
    : session_(session), stream_(stream), pace_(loop, least), request_(request) {}

std::optional<uint64_t> Http2Body::length() const {
  const std::optional<std::string_view> text = request_.headers.get("content-length");
  if (!text) return empty_ ? std::optional<uint64_t>(0) : std::nullopt;
  // The session has checked that it is a number, and that the body has that many bytes.
  uint64_t length = 0;
  std::from_chars(text->data(), text->data() + text->size(), length);
  return length;
}

base::Task<std::string_view> Http2Body::read() {
  if (!std::exchange(begun_, true) && !ended_) {
    session_.widen_window(stream_);
    // Not if the body is coming already (RFC 9110 §10.1.1).
    if (expects_continue(request_) && received_.empty() && !response_begun_) {
      session_.send_continue(stream_);
    }
  }
  const base::TimePoint deadline = pace_.begin_wait();
  while (true) {
    const base::Signal::Ticket ticket = changed_.ticket();
    if (broken_) throw ConnectionError("the client left in the middle of its request body");
    if (ended_ || !received_.empty()) break;
    const bool in_time = co_await changed_.wait(ticket, deadline);
    if (!in_time) throw StatusError(408, "the request body comes too slowly");
  }
  pace_.end_wait();
  block_.clear();
  block_.swap(received_);
  pace_.moved(block_.size());
  if (!block_.empty()) session_.consumed(stream_, block_.size());
  co_return block_;
}

void Http2Body::discard() {
  if (!received_.empty()) session_.dropped(received_.size());
  received_.clear();
}

void Http2Body::add(std::string_view bytes) {
  received_ += bytes;
  total_ += bytes.size();
  changed_.notify();
}

void Http2Body::end() {
  ended_ = true;
  empty_ = received_.empty() && !begun_;
  changed_.notify();
}

void Http2Body::break_off() {
  if (ended_) return;
  broken_ = true;
  changed_.notify();
}

}  // namespace http

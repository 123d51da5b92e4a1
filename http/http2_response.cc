#include "http/http2_response.h"

#include <algorithm>

#include "http/transport.h"

namespace http {
namespace {

// File bytes in memory while they wait to be sent: no more than the client's windows take, but as
// many as a frame has, or one that opens them little by little would cost a read for each.
constexpr uint64_t kFileBuffer = 128 << 10;
constexpr uint64_t kFrame = 16 << 10;

std::string lower_case(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return lower;
}

// Fields that say how HTTP/1.1 goes on with its connection have no place here (RFC 9113 §8.2.2).
bool is_connection_field(std::string_view name) {
  return iequals(name, "Keep-Alive") || iequals(name, "Proxy-Connection") ||
         iequals(name, "Upgrade");
}

}  // namespace

void Http2Response::make_head(int status, Headers headers, std::optional<uint64_t> length) {
  if (started()) throw ConnectionError("a second response to one request");
  status_ = status;
  headers_ = std::move(headers);
  body_.response_begins();
  left_ = length.value_or(0);
  bounded_ = length.has_value();
  // RFC 9110 §6.4.1: these never have a body, whatever their fields say.
  const bool never = status < 200 || status == 204 || status == 304;
  bodiless_ = never || request_.is("HEAD");

  head_.push_back({":status", std::to_string(status)});
  head_.push_back({"date", std::string(current_date())});
  for (const Headers::Field& field : headers_) {
    if (is_framing_field(field.name) || is_connection_field(field.name)) continue;
    head_.push_back({lower_case(field.name), field_text(field.value)});
  }
  if (length && !never) head_.push_back({"content-length", std::to_string(*length)});
}

base::Task<void> Http2Response::send(Response response) {
  make_head(response.status, std::move(response.headers), response.body.size());
  left_ = 0;
  if (!bodiless_) pending_ = response.body;
  body_bytes_ = pending_.size();
  last_ = true;
  session_.respond(stream_, head_, /*body=*/!pending_.empty());
  co_await flush();
}

base::Task<void> Http2Response::begin(int status, Headers headers, std::optional<uint64_t> length) {
  make_head(status, std::move(headers), length);
  // A message without a body ends with its head, so that waits for finish().
  if (!bodiless_) session_.respond(stream_, head_, /*body=*/true);
  co_return;
}

bool Http2Response::take(uint64_t size) {
  if (!started() || last_) throw ConnectionError("body outside of a response");
  if (bodiless_ || size == 0) return false;
  if (bounded_) {
    if (size > left_) throw ConnectionError("more body than the promised length");
    left_ -= size;
  }
  body_bytes_ += size;
  return true;
}

base::Task<void> Http2Response::write(std::string_view data) {
  if (!take(data.size())) co_return;
  has_tail_ = bounded_ && left_ == 0;
  if (has_tail_) {
    tail_ = data.back();
    data.remove_suffix(1);
  }
  pending_ = data;
  session_.resume(stream_);
  co_await flush();
}

base::Task<void> Http2Response::write_file(int fd, uint64_t offset, uint64_t length) {
  if (bodiless_) co_return;
  std::unique_ptr<char[]> buffer;  // none while the client takes nothing
  while (length > 0) {
    if (session_.window(stream_) == 0) {
      buffer.reset();
      co_await open_window();
    }
    if (!buffer) buffer = std::make_unique_for_overwrite<char[]>(std::min(length, kFileBuffer));
    const uint64_t room = std::max<uint64_t>(session_.window(stream_), kFrame);
    const auto step = static_cast<size_t>(std::min({length, room, kFileBuffer}));
    co_await read_file(pool_, fd, offset, buffer.get(), step);
    co_await write({buffer.get(), step});
    offset += step;
    length -= step;
  }
}

base::Task<void> Http2Response::finish() {
  if (!started() || (bounded_ && !bodiless_ && left_ > 0)) {
    throw ConnectionError("less body than the promised length");
  }
  last_ = true;
  if (has_tail_) pending_ = {&tail_, 1};
  if (bodiless_) {
    session_.respond(stream_, head_, /*body=*/false);
  } else {
    session_.resume(stream_);
  }
  co_await flush();
}

base::Task<void> Http2Response::flush() {
  while (true) {
    const base::Signal::Ticket ticket = changed_.ticket();
    if (broken_ && !complete_) {
      pending_ = {};
      throw ConnectionError("the client has ended the stream");
    }
    if (pending_.empty() && (complete_ || !last_)) co_return;
    co_await wait_for_client(ticket);
  }
}

base::Task<void> Http2Response::open_window() {
  while (session_.window(stream_) == 0) {
    const base::Signal::Ticket ticket = changed_.ticket();
    if (broken_) throw ConnectionError("the client has ended the stream");
    session_.resume(stream_);  // so that pending() is asked for once they do
    co_await wait_for_client(ticket);
  }
}

base::Task<void> Http2Response::wait_for_client(base::Signal::Ticket ticket) {
  co_await changed_.wait(ticket, pace_.begin_wait());
  pace_.end_wait();
  if (!pace_.too_slow()) co_return;
  pending_ = {};
  throw TimedOut("the client takes too little of the response");
}

Http2Output Http2Response::pending() {
  if (pending_.empty() && !last_) changed_.notify();  // the windows are open
  return {pending_, last_};
}

void Http2Response::sent(size_t count) {
  pending_.remove_prefix(count);
  pace_.moved(count);
  if (pending_.empty()) changed_.notify();
}

void Http2Response::sent_end() {
  complete_ = true;
  changed_.notify();
}

void Http2Response::break_off() {
  broken_ = true;
  changed_.notify();
}

}  // namespace http

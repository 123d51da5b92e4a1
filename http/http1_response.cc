#include "http/http1_response.h"

#include <array>
#include <charconv>

namespace http {
namespace {

// The head of a response this small waits for its body, so that both go out in one call. A longer
// or unbounded one is sent at once: its first byte may take a while to come.
constexpr uint64_t kHeadWaits = 64 << 10;
// A file part this small is copied behind the head instead of being sent by a call of its own.
constexpr uint64_t kCopiedFile = 16 << 10;

void append_number(std::string& out, uint64_t number, int base) {
  std::array<char, 20> digits;
  const auto result = std::to_chars(digits.data(), digits.data() + digits.size(), number, base);
  out.append(digits.data(), result.ptr);
}

}  // namespace

void Http1Response::make_head(int status, Headers headers, std::optional<uint64_t> length) {
  if (started()) throw ConnectionError("a second response to one request");
  status_ = status;
  headers_ = std::move(headers);
  if (body_ != nullptr) body_->response_begins();
  left_ = length.value_or(0);
  // RFC 9110 §6.4.1: these never have a body, whatever their fields say.
  const bool bodiless = status < 200 || status == 204 || status == 304;
  if (bodiless || request_.is("HEAD")) {
    framing_ = Framing::none;
  } else if (length) {
    framing_ = Framing::length;
  } else if (request_.version != Version::http1_0) {
    framing_ = Framing::chunked;
  } else {
    framing_ = Framing::until_close;
  }
  if (framing_ == Framing::until_close || (body_ != nullptr && body_->too_much_left()) ||
      headers_.has_token("Connection", "close")) {
    keep_alive_ = false;
  }

  head_.reserve(512);
  head_ += "HTTP/1.1 ";
  append_number(head_, static_cast<uint64_t>(status), 10);
  head_ += ' ';
  head_ += reason_phrase(status);
  head_ += "\r\nDate: ";
  head_ += current_date();
  for (const Headers::Field& field : headers_) {
    if (is_framing_field(field.name)) continue;
    head_ += "\r\n";
    head_ += field_text(field.name);
    head_ += ": ";
    head_ += field_text(field.value);
  }
  if (length && !bodiless) {
    head_ += "\r\nContent-Length: ";
    append_number(head_, *length, 10);
  } else if (framing_ == Framing::chunked) {
    head_ += "\r\nTransfer-Encoding: chunked";
  }
  if (!keep_alive_) {
    head_ += "\r\nConnection: close";
  } else if (request_.version == Version::http1_0) {
    head_ += "\r\nConnection: keep-alive";
  }
  head_ += "\r\n\r\n";
}

base::Task<void> Http1Response::send(Response response) {
  make_head(response.status, std::move(response.headers), response.body.size());
  const std::string_view body = framing_ == Framing::length ? response.body : std::string_view();
  body_bytes_ = body.size();
  left_ = 0;
  const Transport::Parts parts{head_, body};
  co_await transport_.write(parts);
  head_.clear();
  complete_ = true;
}

base::Task<void> Http1Response::begin(int status, Headers headers, std::optional<uint64_t> length) {
  make_head(status, std::move(headers), length);
  if (framing_ == Framing::none || (length && *length <= kHeadWaits)) co_return;
  const Transport::Parts parts{head_};
  co_await transport_.write(parts, /*more=*/framing_ == Framing::length);
  head_.clear();
}

bool Http1Response::take(uint64_t size) {
  if (!started() || complete_) throw ConnectionError("body outside of a response");
  if (framing_ == Framing::none || size == 0) return false;
  if (framing_ == Framing::length) {
    if (size > left_) throw ConnectionError("more body than the promised length");
    left_ -= size;
  }
  body_bytes_ += size;
  return true;
}

base::Task<void> Http1Response::write(std::string_view data) {
  if (!take(data.size())) co_return;
  Transport::Parts parts{head_, data};
  std::string chunk_head;
  if (framing_ == Framing::chunked) {
    append_number(chunk_head, data.size(), 16);
    chunk_head += "\r\n";
    parts = {head_, chunk_head, data, "\r\n"};
  }
  co_await transport_.write(parts);
  head_.clear();
}

base::Task<void> Http1Response::write_file(int fd, uint64_t offset, uint64_t length) {
  if (length <= kCopiedFile) {
    if (framing_ == Framing::none) co_return;
    const auto copy = std::make_unique_for_overwrite<char[]>(static_cast<size_t>(length));
    co_await read_file(pool_, fd, offset, copy.get(), static_cast<size_t>(length));
    co_await write({copy.get(), static_cast<size_t>(length)});
    co_return;
  }
  if (!take(length)) co_return;
  std::string before = std::exchange(head_, {});
  if (framing_ == Framing::chunked) {
    append_number(before, length, 16);
    before += "\r\n";
  }
  const Transport::Parts parts{before};
  co_await transport_.write(parts, /*more=*/true);
  uint64_t sent = 0;
  try {
    co_await transport_.send_file(fd, offset, length, sent);
  } catch (const FileError& e) {
    if (framing_ == Framing::chunked) throw ConnectionError(e.what());
    if (framing_ == Framing::length) left_ += length - sent;
    body_bytes_ -= length - sent;
    throw;
  }
  if (framing_ == Framing::chunked) {
    const Transport::Parts end{"\r\n"};
    co_await transport_.write(end);
  }
}

base::Task<void> Http1Response::finish() {
  if (!started() || (framing_ == Framing::length && left_ > 0)) {
    throw ConnectionError("less body than the promised length");
  }
  const Transport::Parts parts{head_, framing_ == Framing::chunked ? "0\r\n\r\n" : ""};
  co_await transport_.write(parts);
  head_.clear();
  complete_ = true;
}

}  // namespace http

// The body of one HTTP/1.1 request, decoded in place in the connection's buffer.
#pragma once

#include "base/event_loop.h"
#include "http/body.h"
#include "http/input_buffer.h"
#include "http/pace.h"
#include "http/request_parser.h"
#include "http/transport.h"

namespace http {

class Http1Body : public BodyReader {
 public:
  // `parser` has just parsed the head; `expects_continue` if the client waits for a 100. All must
  // outlive the body.
  Http1Body(base::EventLoop& loop, Transport& transport, RequestParser& parser, InputBuffer& input,
            LeastPace least, bool expects_continue);

  base::Task<std::string_view> read() override;
  std::optional<uint64_t> length() const override { return length_; }
  // Bytes that have come so far.
  uint64_t received() const { return received_; }

  // No 100 may follow once the response has begun.
  void response_begins() { response_begun_ = true; }
  // True if the rest of the body is too much to be read for nothing, so that the connection must
  // close after this exchange.
  bool too_much_left() const;
  // Reads and drops the rest of a body the handler left. False if the connection must close.
  base::Task<bool> discard(base::TimePoint deadline);

 private:
  base::Task<std::string_view> read_block(base::TimePoint deadline);
  std::string_view decode();

  Transport& transport_;
  RequestParser& parser_;
  InputBuffer& input_;
  Pace pace_;
  const std::optional<uint64_t> length_;
  uint64_t received_ = 0;  // body bytes decoded so far
  bool continue_awaited_;  // the client holds the body back until it sees a 100
  bool response_begun_ = false;
  bool broken_ = false;  // what is left of it makes no sense or does not come
};

}  // namespace http

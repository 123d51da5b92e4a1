// The body of one HTTP/2 request: what has come, at most a flow-control window ahead of the handler
// (RFC 9113 §5.2).
#pragma once

#include "base/event_loop.h"
#include "base/signal.h"
#include "http/body.h"
#include "http/http2_session.h"
#include "http/pace.h"

namespace http {

class Http2Body : public BodyReader {
 public:
  // All must outlive the body.
  Http2Body(base::EventLoop& loop, Http2Session& session, int32_t stream, LeastPace least,
            const Request& request);

  base::Task<std::string_view> read() override;
  std::optional<uint64_t> length() const override;

  // No 100 may follow once the response has begun.
  void response_begins() { response_begun_ = true; }
  // True if the client has sent all of it.
  bool ended() const { return ended_; }
  // Bytes that have come so far.
  uint64_t received() const { return total_; }
  // Drops what nobody read.
  void discard();

  // What the stream's events bring; nothing is resumed before they return.
  void add(std::string_view bytes);
  void end();
  void break_off();

 private:
  Http2Session& session_;
  const int32_t stream_;
  Pace pace_;
  const Request& request_;
  base::Signal changed_;
  std::string received_;  // counts against the window
  uint64_t total_ = 0;
  std::string block_;   // what the handler has
  bool begun_ = false;  // the handler has read
  bool response_begun_ = false;
  bool ended_ = false;
  bool empty_ = false;  // there was no body at all
  bool broken_ = false;
};

}  // namespace http

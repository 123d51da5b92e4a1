// The response of one HTTP/2 exchange: head, the bytes that wait for the client's windows, and the
// count of what was promised.
#pragma once

#include "base/event_loop.h"
#include "base/signal.h"
#include "base/thread_pool.h"
#include "http/http2_body.h"
#include "http/http2_session.h"
#include "http/pace.h"
#include "http/server_response.h"

namespace http {

class Http2Response : public ServerResponse {
 public:
  // All must outlive the response.
  Http2Response(base::EventLoop& loop, base::ThreadPool& pool, Http2Session& session,
                Http2Body& body, int32_t stream, LeastPace least, PaceGroup& paces,
                const Request& request)
      : pool_(pool),
        session_(session),
        body_(body),
        stream_(stream),
        request_(request),
        pace_(loop, least, &paces) {}

  base::Task<void> send(Response response) override;
  base::Task<void> begin(int status, Headers headers, std::optional<uint64_t> length) override;
  base::Task<void> write(std::string_view data) override;
  base::Task<void> write_file(int fd, uint64_t offset, uint64_t length) override;
  base::Task<void> finish() override;
  bool client_left() const override { return broken_; }

  // What the stream's events ask for and bring; nothing is resumed before they return.
  Http2Output pending();
  void sent(size_t count);
  void sent_end();
  void break_off();

 private:
  void make_head(int status, Headers headers, std::optional<uint64_t> length);
  // Books body bytes that are about to be sent. False if there is nothing to send.
  bool take(uint64_t size);
  // Waits until what is pending has been sent.
  base::Task<void> flush();
  // Waits until the client's windows take something of the stream.
  base::Task<void> open_window();
  // Waits for a change that the client makes. TimedOut if it takes too little.
  base::Task<void> wait_for_client(base::Signal::Ticket ticket);

  base::ThreadPool& pool_;
  Http2Session& session_;
  Http2Body& body_;
  const int32_t stream_;
  const Request& request_;
  base::Signal changed_;
  Pace pace_;

  std::vector<Headers::Field> head_;
  std::string_view pending_;  // the handler's bytes, while it waits in flush()
  // The last byte of a promised length, kept for finish(): nghttp2 sends an end without a byte only
  // while the windows are open, and a client that has everything need not open them.
  char tail_ = 0;
  bool has_tail_ = false;
  bool bodiless_ = false;  // HEAD, 204, 304
  bool bounded_ = false;   // the length was promised
  bool last_ = false;      // the message ends with what is pending
  bool broken_ = false;
};

}  // namespace http

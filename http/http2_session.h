// The protocol of one HTTP/2 connection, server side (RFC 9113): frames, HPACK, windows, and what
// is cut off as a flood. The only unit that sees nghttp2. No I/O: bytes go in by receive() and come
// out of output(). Lives on one loop.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/event_loop.h"
#include "base/signal.h"
#include "http/message.h"

namespace http {

// RFC 9113 §7; those the server sends of its own accord.
enum class Http2Error : uint32_t {
  no_error = 0x0,
  protocol_error = 0x1,
  internal_error = 0x2,
  enhance_your_calm = 0xb,
};

// What a stream has to send now.
struct Http2Output {
  std::string_view bytes;
  bool last = false;  // the message ends with them
};

// What happens to the streams. Called inside receive() and output(), where no coroutine may be
// resumed and the session must not be called.
class Http2Events {
 public:
  virtual ~Http2Events() = default;
  // A request's head begins. False refuses the stream (REFUSED_STREAM).
  virtual bool begin_request(int32_t stream) = 0;
  virtual void add_field(int32_t stream, std::string_view name, std::string_view value) = 0;
  virtual void end_head(int32_t stream) = 0;
  // False if nobody will read it.
  virtual bool add_body(int32_t stream, std::string_view bytes) = 0;
  virtual void end_body(int32_t stream) = 0;
  // Nothing more can be received or sent.
  virtual void close_stream(int32_t stream) = 0;
  virtual Http2Output pending(int32_t stream) = 0;
  // The first `count` of the pending bytes are in output().
  virtual void sent(int32_t stream, size_t count) = 0;
  virtual void sent_end(int32_t stream) = 0;
};

// Counts what a peer may do now and then but not all the time.
class SlidingCount {
 public:
  explicit SlidingCount(size_t limit) : limit_(limit) {}
  // False if there have been more than the limit in the last ten seconds.
  bool add(base::TimePoint now);

 private:
  const size_t limit_;
  std::deque<base::TimePoint> times_;
};

class Http2Session {
 public:
  // Streams a client may have open, and handlers at work for it.
  static constexpr size_t kMaxStreams = 100;

  // Submits the server's settings. `events` must outlive the session.
  Http2Session(base::EventLoop& loop, Http2Events& events, size_t max_header_bytes);
  ~Http2Session();

  // Takes what the peer sent. A peer that breaks the protocol or floods is told so by GOAWAY, and
  // the session is finished once that is sent.
  void receive(std::string_view bytes);
  // The next bytes for the peer, about 64 KiB at most, valid until the next call; empty if there is
  // nothing to send now.
  std::string_view output();
  // Notified when output() may have something, or the session is finished.
  base::Signal& output_ready() { return output_ready_; }
  // Nothing more will be received or sent.
  bool finished() const;
  // True if so many frames wait to be sent that no more should be provoked.
  bool congested() const;
  // Since when a header block is incomplete.
  std::optional<base::TimePoint> head_open_since() const { return head_begun_; }

  // The calls below do nothing for a stream that is closed.

  void send_continue(int32_t stream);
  // `fields` begin with ":status", names in lower case. With a body, `pending` is asked for it.
  void respond(int32_t stream, const std::vector<Headers::Field>& fields, bool body);
  // There is something pending.
  void resume(int32_t stream);
  void reset(int32_t stream, Http2Error error);
  // Bytes of that stream that the peer's windows take.
  size_t window(int32_t stream) const;

  // The handler has begun to read the body: the peer may send much more ahead of it.
  void widen_window(int32_t stream);
  // Body bytes that will not be held any longer: the peer may send as many more.
  void consumed(int32_t stream, size_t count);
  // The same for a stream that takes no more.
  void dropped(size_t count);

  // Announces the end, in two steps so that no request under way is lost (RFC 9113 §6.8): new
  // streams are served until the peer has seen the first.
  void drain();
  // Accepts no new stream.
  void go_away();
  // Ends everything as soon as the GOAWAY is sent.
  void terminate(Http2Error error);

 private:
  struct Library;  // nghttp2's session and the functions it calls
  friend struct Library;

  // Counts one more; false if it is a flood, which ends the session.
  bool tolerate(SlidingCount& count);

  base::EventLoop& loop_;
  Http2Events& events_;
  base::Signal output_ready_;
  std::unique_ptr<Library> library_;
  std::string output_;
  std::optional<base::TimePoint> head_begun_;
  int32_t head_stream_ = 0;
  std::unordered_set<int32_t> answering_;  // open streams that have sent bytes of a body
  SlidingCount resets_;                    // in both directions (CVE-2023-44487, CVE-2025-8671)
  SlidingCount nothings_;  // frames that move nothing: PING, SETTINGS, PRIORITY, empty DATA
  bool draining_ = false;  // drain() was called
  bool pinged_ = false;    // and the peer will answer when it has seen the first step
  bool refusing_input_ = false;
  bool failed_ = false;  // not even a GOAWAY can be sent
};

}  // namespace http

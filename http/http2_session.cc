#include "http/http2_session.h"

#include <glog/logging.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>

namespace http {
namespace {

// Bytes made ready for one write.
constexpr size_t kOutputBytes = 64 << 10;
// What a client may send ahead of a handler that reads, and of all handlers together.
constexpr int32_t kReadWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 16 << 20;
constexpr size_t kMaxQueuedFrames = 400;
// In ten seconds. A client may well cancel all its streams, twice.
constexpr size_t kMaxResets = 200;
constexpr size_t kMaxNothings = 500;
constexpr std::chrono::seconds kCountedTime(10);

uint8_t* bytes_of(std::string_view text) {
  // nghttp2 only reads, whatever its types say.
  return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
}

std::string_view view(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  return {bytes_of(name), bytes_of(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

bool is_request_head(const nghttp2_frame* frame) {
  return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
}

// A call about a stream that has just been closed fails, and nothing is lost by that.
void only_if_open(int result) {
  CHECK_NE(result, NGHTTP2_ERR_NOMEM) << "out of memory";
  if (result < 0) VLOG(1) << "HTTP/2: " << nghttp2_strerror(result);
}

}  // namespace

bool SlidingCount::add(base::TimePoint now) {
  while (!times_.empty() && times_.front() <= now - kCountedTime) times_.pop_front();
  times_.push_back(now);
  return times_.size() <= limit_;
}

struct Http2Session::Library {
  nghttp2_session* session = nullptr;

  explicit Library(Http2Session* self) {
    nghttp2_session_callbacks* callbacks = nullptr;
    CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_option* option = nullptr;
    CHECK_EQ(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    CHECK_EQ(nghttp2_session_server_new2(&session, callbacks, self, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
  }
  ~Library() { nghttp2_session_del(session); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  static Http2Session& self(void* user_data) { return *static_cast<Http2Session*>(user_data); }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    const int32_t stream = frame->hd.stream_id;
    if (is_request_head(frame) && !s.events_.begin_request(stream)) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_REFUSED_STREAM);
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    s.head_begun_ = s.loop_.now();
    s.head_stream_ = stream;
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                       void* user) {
    // Trailer fields are dropped.
    if (is_request_head(frame)) {
      self(user).events_.add_field(frame->hd.stream_id, view(name, name_size),
                                   view(value, value_size));
    }
    return 0;
  }

  // Without this nghttp2 would drop the field and serve the rest of the request.
  static int on_invalid_header(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t,
                               const uint8_t*, size_t, uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* user) {
    Http2Session& s = self(user);
    const bool empty_data = head->type == NGHTTP2_DATA && head->length == 0 &&
                            (head->flags & NGHTTP2_FLAG_END_STREAM) == 0;
    const bool nothing = empty_data || head->type == NGHTTP2_PING ||
                         head->type == NGHTTP2_SETTINGS || head->type == NGHTTP2_PRIORITY;
    if (nothing && !s.tolerate(s.nothings_)) return NGHTTP2_ERR_CALLBACK_FAILURE;
    // Who leaves an answer that has begun has paid for it: containerd ends open ranges so, by the
    // chunk.
    if (head->type == NGHTTP2_RST_STREAM && !s.answering_.contains(head->stream_id) &&
        !s.tolerate(s.resets_)) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    // A stream that was skipped can never be opened (RFC 9113 §5.1.1). nghttp2, which remembers
    // those closed of late, would ignore its frames.
    if (head->type == NGHTTP2_HEADERS &&
        head->stream_id <= nghttp2_session_get_last_proc_stream_id(session) &&
        nghttp2_session_find_stream(session, head->stream_id) == nullptr) {
      s.terminate(Http2Error::protocol_error);
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
  }

  static int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    const int32_t stream = frame->hd.stream_id;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        s.head_begun_.reset();
        if (is_request_head(frame)) s.events_.end_head(stream);
        break;
      case NGHTTP2_PING:
        // The peer has seen the first step of drain().
        if (s.pinged_ && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) submit_goaway(session);
        break;
      default:
        break;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      s.events_.end_body(stream);
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, uint8_t, int32_t stream, const uint8_t* data,
                     size_t size, void* user) {
    if (!self(user).events_.add_body(stream, view(data, size))) {
      only_if_open(nghttp2_session_consume_connection(session, size));
    }
    return 0;
  }

  static int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    const nghttp2_frame_hd& head = frame->hd;
    if (head.type == NGHTTP2_RST_STREAM) {
      // Our own decisions are NO_ERROR and INTERNAL_ERROR; anything else the client provoked.
      const uint32_t code = frame->rst_stream.error_code;
      if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR) s.tolerate(s.resets_);
    }
    // Only now, for nghttp2 sends a PING before what waits already.
    if (head.type == NGHTTP2_GOAWAY && s.draining_ && !std::exchange(s.pinged_, true)) {
      only_if_open(nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, nullptr));
    }
    if ((head.type == NGHTTP2_HEADERS || head.type == NGHTTP2_DATA) &&
        (head.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      s.events_.sent_end(head.stream_id);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session*, int32_t stream, uint32_t, void* user) {
    Http2Session& s = self(user);
    if (stream == s.head_stream_) s.head_begun_.reset();
    s.answering_.erase(stream);
    s.events_.close_stream(stream);
    return 0;
  }

  static ssize_t read_data(nghttp2_session*, int32_t stream, uint8_t*, size_t size, uint32_t* flags,
                           nghttp2_data_source*, void* user) {
    const Http2Output pending = self(user).events_.pending(stream);
    if (pending.bytes.empty() && !pending.last) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    const size_t count = std::min(size, pending.bytes.size());
    if (pending.last && count == pending.bytes.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(count);
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* head, size_t size,
                       nghttp2_data_source*, void* user) {
    Http2Session& s = self(user);
    if (s.output_.size() >= kOutputBytes) return NGHTTP2_ERR_WOULDBLOCK;
    const int32_t stream = frame->hd.stream_id;
    const std::string_view bytes = s.events_.pending(stream).bytes;
    // The handler may have given up since read_data() promised them.
    if (bytes.size() < size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    constexpr size_t kFrameHead = 9;
    s.output_ += view(head, kFrameHead);
    s.output_ += bytes.substr(0, size);
    s.answering_.insert(stream);
    s.events_.sent(stream, size);
    return 0;
  }

  static void submit_goaway(nghttp2_session* session) {
    only_if_open(nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                                       nghttp2_session_get_last_proc_stream_id(session),
                                       NGHTTP2_NO_ERROR, nullptr, 0));
  }
};

Http2Session::Http2Session(base::EventLoop& loop, Http2Events& events, size_t max_header_bytes)
    : loop_(loop),
      events_(events),
      library_(std::make_unique<Library>(this)),
      resets_(kMaxResets),
      nothings_(kMaxNothings) {
  const std::array<nghttp2_settings_entry, 2> settings{{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(max_header_bytes)},
  }};
  nghttp2_session* const session = library_->session;
  CHECK_EQ(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size()),
           0);
  CHECK_EQ(nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow),
           0);
}

Http2Session::~Http2Session() = default;

bool Http2Session::tolerate(SlidingCount& count) {
  if (count.add(loop_.now())) return true;
  terminate(Http2Error::enhance_your_calm);
  return false;
}

void Http2Session::receive(std::string_view bytes) {
  if (refusing_input_) return;
  const ssize_t n = nghttp2_session_mem_recv(library_->session, bytes_of(bytes), bytes.size());
  output_ready_.notify();
  if (n >= 0) return;
  refusing_input_ = true;
  const bool flood = n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
  // After a callback's failure this is the second GOAWAY, and nghttp2 sends the first alone.
  terminate(flood ? Http2Error::enhance_your_calm : Http2Error::protocol_error);
}

std::string_view Http2Session::output() {
  output_.clear();
  while (output_.size() < kOutputBytes) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(library_->session, &data);
    if (n > 0) output_ += view(data, static_cast<size_t>(n));
    if (n < 0) failed_ = true;
    if (n <= 0) break;
  }
  if (output_.empty()) output_.shrink_to_fit();
  return output_;
}

bool Http2Session::finished() const {
  nghttp2_session* const session = library_->session;
  return failed_ ||
         (nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0);
}

bool Http2Session::congested() const {
  return nghttp2_session_get_outbound_queue_size(library_->session) > kMaxQueuedFrames;
}

void Http2Session::send_continue(int32_t stream) {
  const nghttp2_nv status = field(":status", "100");
  only_if_open(nghttp2_submit_headers(library_->session, NGHTTP2_FLAG_NONE, stream, nullptr,
                                      &status, 1, nullptr));
  output_ready_.notify();
}

void Http2Session::respond(int32_t stream, const std::vector<Headers::Field>& fields, bool body) {
  std::vector<nghttp2_nv> list;
  list.reserve(fields.size());
  for (const Headers::Field& f : fields) list.push_back(field(f.name, f.value));
  nghttp2_data_provider provider{};
  provider.read_callback = Library::read_data;
  only_if_open(nghttp2_submit_response(library_->session, stream, list.data(), list.size(),
                                       body ? &provider : nullptr));
  output_ready_.notify();
}

void Http2Session::resume(int32_t stream) {
  // Fails if the stream is not waiting for data: then it will ask by itself.
  only_if_open(nghttp2_session_resume_data(library_->session, stream));
  output_ready_.notify();
}

void Http2Session::reset(int32_t stream, Http2Error error) {
  only_if_open(nghttp2_submit_rst_stream(library_->session, NGHTTP2_FLAG_NONE, stream,
                                         static_cast<uint32_t>(error)));
  output_ready_.notify();
}

size_t Http2Session::window(int32_t stream) const {
  nghttp2_session* const session = library_->session;
  const int32_t of_connection = nghttp2_session_get_remote_window_size(session);
  const int32_t of_stream = nghttp2_session_get_stream_remote_window_size(session, stream);
  return static_cast<size_t>(std::max(0, std::min(of_connection, of_stream)));
}

void Http2Session::widen_window(int32_t stream) {
  only_if_open(nghttp2_session_set_local_window_size(library_->session, NGHTTP2_FLAG_NONE, stream,
                                                     kReadWindow));
  output_ready_.notify();
}

void Http2Session::consumed(int32_t stream, size_t count) {
  only_if_open(nghttp2_session_consume(library_->session, stream, count));
  output_ready_.notify();
}

void Http2Session::dropped(size_t count) {
  only_if_open(nghttp2_session_consume_connection(library_->session, count));
  output_ready_.notify();
}

void Http2Session::drain() {
  draining_ = true;
  only_if_open(nghttp2_submit_shutdown_notice(library_->session));
  output_ready_.notify();
}

void Http2Session::go_away() {
  Library::submit_goaway(library_->session);
  output_ready_.notify();
}

void Http2Session::terminate(Http2Error error) {
  only_if_open(nghttp2_session_terminate_session(library_->session, static_cast<uint32_t>(error)));
  output_ready_.notify();
}

}  // namespace http

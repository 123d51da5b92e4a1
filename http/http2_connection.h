// One HTTP/2 connection of the server: one coroutine reads, one writes, and each request has one
// that runs the handler. Lives on one loop.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/event_loop.h"
#include "base/signal.h"
#include "http/connection.h"
#include "http/http2_session.h"
#include "http/pace.h"
#include "http/transport.h"

namespace http {

class Http2Connection : public Connection, private Http2Events {
 public:
  // `transport` is past its handshake.
  Http2Connection(base::EventLoop& loop, ServerState& server, IdleConnections& idle,
                  std::shared_ptr<const ServerLimits> limits, std::unique_ptr<Transport> transport,
                  Peer peer);
  ~Http2Connection() override;

  base::Task<void> run() override;
  void finish() override;
  bool make_room() override;
  void reset() override;

 private:
  struct Stream;

  bool begin_request(int32_t id) override;
  void add_field(int32_t id, std::string_view name, std::string_view value) override;
  void end_head(int32_t id) override;
  bool add_body(int32_t id, std::string_view bytes) override;
  void end_body(int32_t id) override;
  void close_stream(int32_t id) override;
  Http2Output pending(int32_t id) override;
  void sent(int32_t id, size_t count) override;
  void sent_end(int32_t id) override;

  base::Task<void> read_frames();
  base::Task<void> write_frames();
  base::Task<void> serve(int32_t id);
  base::Task<void> refuse(Stream* stream);
  void start_requests();
  void break_off_streams();
  Stream* find(int32_t id);
  // Sets the timer for what the connection waits for now, and says whether it is idle.
  void set_timer();

  base::EventLoop& loop_;
  ServerState& server_;
  IdleConnections& idle_connections_;
  const std::shared_ptr<const ServerLimits> limits_;
  const std::unique_ptr<Transport> transport_;
  const Peer peer_;
  Http2Session session_;
  PaceGroup paces_{[this] { return transport_->taken_in_wait(); }};  // of the responses
  std::unordered_map<int32_t, std::unique_ptr<Stream>> streams_;     // until their handlers return
  std::vector<int32_t> arrived_;  // requests whose heads are complete, to be started
  base::TaskScope handlers_;
  base::TaskScope writer_;
  base::Signal written_;  // some output has gone out, or none will any more
  base::TimePoint idle_until_ = base::kForever;
  std::optional<IdleConnections::Wait> idle_;
  base::TimePoint timer_at_ = base::kForever;
  std::optional<base::EventLoop::Timer> timer_;
  bool finishing_ = false;    // finish() was called
  bool making_room_ = false;  // make_room() was
  bool reading_ended_ = false;
  bool writing_ended_ = false;
  bool peer_left_ = false;  // it has ended its side
  bool broken_ = false;     // to be ended by a reset
  bool closing_ = false;
};

}  // namespace http

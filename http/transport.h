// A connected stream socket, plain or TLS, on one loop: what a server connection reads from and
// writes to. With tls.cc the only unit that sees OpenSSL's connections.
//
// Lives on its loop; owns the socket. At most one coroutine reads and one writes, at the same time
// if they like. I/O is tried first and waited for only when the kernel has nothing or is full.
// Whatever goes wrong with the peer is a ConnectionError.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/event_loop.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"
#include "http/body.h"
#include "http/message.h"

struct ssl_ctx_st;

namespace http {

// The deadline passed.
class TimedOut : public ConnectionError {
 public:
  using ConnectionError::ConnectionError;
};

// Reads exactly `size` bytes of a file: at once if they are in memory, else on the pool.
// FileError.
base::Task<void> read_file(base::ThreadPool& pool, int fd, uint64_t offset, char* out, size_t size);

class Transport {
 public:
  // Pieces to send one after the other; empty ones are skipped.
  using Parts = std::array<std::string_view, 4>;

  // Takes a connected, non-blocking socket. `send_timeout` limits how long the peer may take
  // nothing.
  static std::unique_ptr<Transport> plain(base::EventLoop& loop, base::ThreadPool& pool,
                                          base::UniqueFd socket, base::Duration send_timeout);
  // TLS, server side; handshake() comes first.
  static std::unique_ptr<Transport> tls(base::EventLoop& loop, base::ThreadPool& pool,
                                        base::UniqueFd socket, base::Duration send_timeout,
                                        std::shared_ptr<ssl_ctx_st> context);
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // The TLS handshake; fills the peer's TLS fields. Nothing to do on a plain socket.
  virtual base::Task<void> handshake(Peer& peer, base::TimePoint deadline) = 0;
  // The protocol that the handshake agreed on (ALPN, RFC 7301); empty if none.
  virtual std::string_view protocol() const { return {}; }

  // Returns when a read may find something; needs no buffer, so idle connections hold none.
  base::Task<void> wait_readable(base::TimePoint deadline);
  // Reads what has arrived, at least one byte; 0 at the end of the stream. TimedOut at the
  // deadline.
  base::Task<size_t> read(char* out, size_t size, base::TimePoint deadline);

  // Sends all of it. `more`: further bytes follow at once, so the last packet may wait for them.
  base::Task<void> write(Parts parts, bool more = false);
  // Sends that part of a file; bytes that are not in memory are read on the pool first. FileError;
  // `sent` grows by what was sent till then.
  virtual base::Task<void> send_file(int fd, uint64_t offset, uint64_t length, uint64_t& sent) = 0;

  // Ends the stream in order, so that the peer gets everything that was sent: what it still sends
  // is read and dropped for a moment, or its kernel would discard our last bytes (RFC 9112 §9.6).
  base::Task<void> close(bool peer_may_be_sending);
  // Makes the socket end with a reset: the peer sees a failure, and no kernel memory is held for
  // one that does not read. Ends the waits in progress.
  void reset();
  // Ends the wait to read in progress, if there is one, with ConnectionError.
  void interrupt_read() { waiter_.interrupt_read(); }
  // Ends the waits in progress, and all later ones, with ConnectionError.
  void cancel() { waiter_.cancel(); }

 protected:
  enum class Want { nothing, read, write };
  // Bytes moved, or what to wait for first.
  struct Attempt {
    size_t bytes = 0;
    Want want = Want::nothing;
  };

  Transport(base::EventLoop& loop, base::ThreadPool& pool, base::UniqueFd socket,
            base::Duration send_timeout);

  virtual Attempt try_read(char* out, size_t size) = 0;
  virtual Attempt try_write(const Parts& parts, bool more) = 0;
  // True if a read could succeed although the socket shows nothing.
  virtual bool buffered() const { return false; }
  // Tells the peer that nothing more will be sent.
  virtual void end_stream() {}

  base::Task<void> wait(Want want, base::TimePoint deadline);
  base::Task<void> wait_to_send(Want want);
  // True if so much has been sent without a wait that others should have their turn.
  bool turn_is_over(size_t sent);

  base::EventLoop& loop_;
  base::ThreadPool& pool_;
  const base::UniqueFd socket_;

 private:
  const base::Duration send_timeout_;
  base::FdWaiter waiter_;
  size_t sent_in_turn_ = 0;
};

}  // namespace http

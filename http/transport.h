// A connected stream socket, plain or TLS, on one loop: what a server connection reads from and
// writes to. What TLS adds is in tls_transport.cc, with tls.cc the only file that sees OpenSSL's
// connections.
//
// Lives on its loop; owns the socket. At most one coroutine reads and one writes, at the same time
// if they like. I/O is tried first and waited for only when the kernel has nothing or is full.
// Whatever goes wrong with the peer is a ConnectionError.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/event_loop.h"
#include "base/signal.h"
#include "base/thread_pool.h"
#include "base/unique_fd.h"
#include "http/bandwidth.h"
#include "http/body.h"
#include "http/message.h"
#include "http/pace.h"

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

// How slow a peer may be, and how fast it is served.
struct SendLimits {
  LeastPace least;                // what the peer must take while it is waited for
  uint64_t bytes_per_second = 0;  // the most that is sent on this connection; 0: no limit
  Bandwidth* together = nullptr;  // with all other connections; outlives the transport
};

class Transport {
 public:
  // Pieces to send one after the other; empty ones are skipped.
  using Parts = std::array<std::string_view, 4>;

  // Takes a connected, non-blocking socket.
  static std::unique_ptr<Transport> plain(base::EventLoop& loop, base::ThreadPool& pool,
                                          base::UniqueFd socket, const SendLimits& limits);
  // TLS, server side; handshake() comes first.
  static std::unique_ptr<Transport> tls(base::EventLoop& loop, base::ThreadPool& pool,
                                        base::UniqueFd socket, const SendLimits& limits,
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

  // True if the peer has ended its side of the stream, or all of it. Does not wait, and reads
  // nothing.
  bool peer_left() const;

  // Sends all of it. `more`: further bytes follow at once, so the last packet may wait for them.
  base::Task<void> write(Parts parts, bool more = false);
  // What the peer has taken since a write began to wait for it; 0 if none waits. The kernel ends
  // the wait only once that is much.
  uint64_t taken_in_wait();
  // Sends that part of a file; bytes that are not in memory are read on the pool first. FileError;
  // `sent` grows by what was sent till then.
  virtual base::Task<void> send_file(int fd, uint64_t offset, uint64_t length, uint64_t& sent) = 0;

  // True if close() would have to wait for the peer to take what has been sent.
  bool much_is_untaken() const { return untaken() > kLeftToKernel; }
  // Ends the stream in order, so that the peer gets everything that was sent: what it still sends
  // is read and dropped for a moment, or its kernel would discard our last bytes (RFC 9112 §9.6).
  // Returns when the peer has taken nearly all of it; TimedOut if it is too slow.
  base::Task<void> close(bool peer_may_be_sending);
  // Makes the socket end with a reset: the peer sees a failure, and no kernel memory is held for
  // one that does not read. Ends the waits in progress.
  void reset();
  // Ends the wait to read in progress, if there is one, with ConnectionError.
  void interrupt_read() { waiter_.interrupt_read(); }
  // Ends the waits in progress, and all later ones, with ConnectionError.
  void cancel();

 protected:
  enum class Want { nothing, read, write };
  // Bytes moved, or what to wait for first.
  struct Attempt {
    size_t bytes = 0;
    Want want = Want::nothing;
  };

  Transport(base::EventLoop& loop, base::ThreadPool& pool, base::UniqueFd socket,
            const SendLimits& limits);

  virtual Attempt try_read(char* out, size_t size) = 0;
  virtual Attempt try_write(const Parts& parts, bool more) = 0;
  // True if a read could succeed although the socket shows nothing.
  virtual bool buffered() const { return false; }
  // Tells the peer that nothing more will be sent.
  virtual void end_stream() {}

  // TimedOut at the deadline.
  base::Task<void> wait(Want want, base::TimePoint deadline);
  // TimedOut if the peer takes too little.
  base::Task<void> wait_to_send(Want want);
  // Counts what has been sent. True if pause() is due before more is.
  bool pause_is_due(size_t sent);
  // Lets other connections have their turn, for as long as the bandwidth demands.
  base::Task<void> pause();
  // How much may be sent at once of what can.
  uint64_t step(uint64_t bytes) const;

  base::EventLoop& loop_;
  base::ThreadPool& pool_;
  const base::UniqueFd socket_;

 private:
  // So little is left to the kernel when a connection is closed. Of more we see how it is taken, as
  // long as it takes: a socket that is closed with it would stay, and nobody would count it.
  static constexpr uint64_t kLeftToKernel = 64 << 10;

  base::Task<base::Ready> try_wait(Want want, base::TimePoint deadline);
  base::Task<void> drop_input();
  bool drop_some_input();
  base::Task<void> wait_until_taken();
  // Sleeps until then, or until the waits are cancelled: ConnectionError.
  base::Task<void> sleep(base::TimePoint until);
  // Bytes that the kernel holds because the peer has not taken them.
  uint64_t untaken() const;
  // Tells pace_ what the peer has taken since the last time.
  void note_taken();

  base::FdWaiter waiter_;
  base::Signal cancelled_;
  Bandwidth* const together_;
  base::TimePoint send_again_at_;
  size_t sent_in_turn_ = 0;
  Pace pace_;
  uint64_t sent_ = 0;
  uint64_t taken_ = 0;                         // of it, when last looked at
  std::optional<uint64_t> taken_before_wait_;  // while a write waits
};

}  // namespace http

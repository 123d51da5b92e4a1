#include "http/transport.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/fault_point.h"

namespace http {
namespace {

// Sent by one connection before the loop's other connections have their turn.
constexpr size_t kSendTurnBytes = 2 << 20;
// How far ahead of sendfile the page cache is looked at, and how densely: the kernel reads ahead in
// pieces of at least this size.
constexpr uint64_t kResidencyWindow = 1 << 20;
constexpr uint64_t kResidencyStep = 128 << 10;
constexpr std::chrono::milliseconds kOtherWaits(10);
// Sent at once where all connections together have a limit, so that they take turns.
constexpr uint64_t kSharedStep = 64 << 10;
constexpr std::chrono::seconds kTakenInterval(1);
// A peer that keeps sending although its connection is being closed.
constexpr std::chrono::seconds kLingerTime(5);
constexpr size_t kLingerBytes = 4 << 20;
constexpr size_t kDropBuffer = 16 << 10;
constexpr const char* kTooShort = "a file being served is shorter than promised";

[[noreturn]] void fail(const std::string& what) {
  throw ConnectionError(what + ": " + std::strerror(errno));
}

// Reads at the offset without waiting for the disk; fewer bytes, or none, if they are not in
// memory. File systems that cannot tell (NFS, older tmpfs) count as a disk.
size_t read_resident(int fd, uint64_t offset, char* out, size_t size) {
  if (base::fault_point("serve.resident") != 0) return 0;
  const iovec target{out, size};
  const ssize_t n = preadv2(fd, &target, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return n > 0 ? static_cast<size_t>(n) : 0;
}

bool is_resident(int fd, uint64_t offset, uint64_t length) {
  char byte = 0;
  for (uint64_t at = 0; at < length; at += kResidencyStep) {
    if (read_resident(fd, offset + at, &byte, 1) == 0) return false;
  }
  return read_resident(fd, offset + length - 1, &byte, 1) == 1;
}

// Blocks. FileError.
void read_blocking(int fd, uint64_t offset, char* out, size_t size) {
  while (size > 0) {
    int error = base::fault_point("serve.read");
    ssize_t n = 0;
    if (error == 0) {
      n = pread(fd, out, size, static_cast<off_t>(offset));
      error = n < 0 ? errno : 0;
    }
    if (error == EINTR) continue;
    if (error != 0) throw FileError(error, "a file being served");
    if (n == 0) throw FileError(EIO, kTooShort);
    out += n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
}

// Blocks until that part of the file is in memory; one disk read of the whole part, in steps.
void bring_into_memory(int fd, uint64_t offset, uint64_t length) {
  const auto buffer = std::make_unique_for_overwrite<char[]>(kResidencyStep);
  for (uint64_t at = 0; at < length; at += kResidencyStep) {
    const auto step = static_cast<size_t>(std::min(kResidencyStep, length - at));
    read_blocking(fd, offset + at, buffer.get(), step);
  }
}

// Drops the first `count` bytes.
void advance(Transport::Parts& parts, size_t count) {
  for (std::string_view& part : parts) {
    const size_t step = std::min(count, part.size());
    part.remove_prefix(step);
    count -= step;
  }
}

bool all_sent(const Transport::Parts& parts) {
  return std::all_of(parts.begin(), parts.end(), [](std::string_view p) { return p.empty(); });
}

class PlainTransport : public Transport {
 public:
  PlainTransport(base::EventLoop& loop, base::ThreadPool& pool, base::UniqueFd socket,
                 const SendLimits& limits)
      : Transport(loop, pool, std::move(socket), limits) {}

  base::Task<void> handshake(Peer&, base::TimePoint) override { co_return; }

  base::Task<void> send_file(int fd, uint64_t offset, uint64_t length, uint64_t& sent) override {
    uint64_t resident_to = offset;
    while (length > 0) {
      if (offset == resident_to) {
        const uint64_t window = std::min(length, kResidencyWindow);
        if (!is_resident(fd, offset, window)) {
          co_await pool_.run([fd, offset, window] { bring_into_memory(fd, offset, window); });
        }
        resident_to = offset + window;
      }
      auto at = static_cast<off_t>(offset);
      const ssize_t n =
          ::sendfile(socket_.get(), fd, &at, static_cast<size_t>(step(resident_to - offset)));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        co_await wait_to_send(Want::write);
        continue;
      }
      if (n < 0 && base::is_file_error(errno)) throw FileError(errno, "a file being served");
      if (n < 0) fail("sendfile");
      if (n == 0) throw FileError(EIO, kTooShort);
      sent += static_cast<uint64_t>(n);
      offset += static_cast<uint64_t>(n);
      length -= static_cast<uint64_t>(n);
      if (pause_is_due(static_cast<size_t>(n))) co_await pause();
    }
  }

 private:
  Attempt try_read(char* out, size_t size) override {
    while (true) {
      const ssize_t n = ::recv(socket_.get(), out, size, 0);
      if (n >= 0) return {static_cast<size_t>(n)};
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {0, Want::read};
      fail("recv");
    }
  }

  Attempt try_write(const Parts& parts, bool more) override {
    std::array<iovec, std::tuple_size_v<Parts>> vectors;
    size_t count = 0;
    uint64_t room = step(UINT64_MAX);
    for (const std::string_view part : parts) {
      const auto size = static_cast<size_t>(std::min<uint64_t>(part.size(), room));
      room -= size;
      // sendmsg only reads, whatever iovec's type says.
      if (size > 0) vectors[count++] = {const_cast<char*>(part.data()), size};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    while (true) {
      const ssize_t n = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
      if (n >= 0) return {static_cast<size_t>(n)};
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {0, Want::write};
      fail("send");
    }
  }
};

}  // namespace

base::Task<void> read_file(base::ThreadPool& pool, int fd, uint64_t offset, char* out,
                           size_t size) {
  const size_t got = read_resident(fd, offset, out, size);
  if (got == size) co_return;
  co_await pool.run([=] { read_blocking(fd, offset + got, out + got, size - got); });
}

std::unique_ptr<Transport> Transport::plain(base::EventLoop& loop, base::ThreadPool& pool,
                                            base::UniqueFd socket, const SendLimits& limits) {
  return std::make_unique<PlainTransport>(loop, pool, std::move(socket), limits);
}

Transport::Transport(base::EventLoop& loop, base::ThreadPool& pool, base::UniqueFd socket,
                     const SendLimits& limits)
    : loop_(loop),
      pool_(pool),
      socket_(std::move(socket)),
      waiter_(loop, socket_.get()),
      together_(limits.together),
      pace_(loop, limits.least) {
  // These fail on a unix socket, which needs none of them.
  const int on = 1;
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto milliseconds = static_cast<unsigned>(
      std::chrono::duration_cast<std::chrono::milliseconds>(limits.least.period).count());
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds, sizeof milliseconds);
  if (limits.bytes_per_second > 0) {
    // The kernel paces (tcp(7) by itself, or its queueing discipline fq): no timers of ours.
    const uint64_t rate = limits.bytes_per_second;
    setsockopt(socket_.get(), SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
  }
}

void Transport::cancel() {
  waiter_.cancel();
  cancelled_.notify();
}

base::Task<base::Ready> Transport::try_wait(Want want, base::TimePoint deadline) {
  // TLS may have to write in order to read (a key update) while another coroutine waits to write.
  if (want == Want::read ? waiter_.reading() : waiter_.writing()) {
    co_await loop_.sleep(kOtherWaits);
    co_return base::Ready::ready;
  }
  base::Ready ready = base::Ready::ready;
  if (want == Want::read) {
    ready = co_await waiter_.readable(deadline);
  } else {
    ready = co_await waiter_.writable(deadline);
  }
  if (ready == base::Ready::cancelled) throw ConnectionError("the connection was ended");
  co_return ready;
}

base::Task<void> Transport::wait(Want want, base::TimePoint deadline) {
  const base::Ready ready = co_await try_wait(want, deadline);
  if (ready == base::Ready::timed_out) throw TimedOut("timed out");
}

base::Task<void> Transport::wait_to_send(Want want) {
  sent_in_turn_ = 0;
  note_taken();
  taken_before_wait_ = taken_;
  base::Ready ready = base::Ready::timed_out;
  while (ready == base::Ready::timed_out) {
    note_taken();
    if (pace_.too_slow()) throw TimedOut("the client takes too little");
    ready = co_await try_wait(want, pace_.begin_wait());
    pace_.end_wait();
  }
  taken_before_wait_.reset();
}

uint64_t Transport::taken_in_wait() {
  if (!taken_before_wait_) return 0;
  note_taken();
  return taken_ - *taken_before_wait_;
}

void Transport::note_taken() {
  // The kernel reports a socket writable only when a third of its buffer is free, which a slow
  // client may need minutes for. What it still holds tells sooner. (It counts TLS records where
  // sent_ counts their content, which is of no weight.)
  const uint64_t taken = std::max(taken_, sent_ - std::min(sent_, untaken()));
  pace_.moved(taken - taken_);
  taken_ = taken;
}

uint64_t Transport::untaken() const {
  int bytes = 0;
  return ::ioctl(socket_.get(), SIOCOUTQ, &bytes) == 0 ? static_cast<uint64_t>(bytes) : 0;
}

uint64_t Transport::step(uint64_t bytes) const {
  return together_ != nullptr && together_->limited() ? std::min(bytes, kSharedStep) : bytes;
}

bool Transport::pause_is_due(size_t sent) {
  sent_ += sent;
  sent_in_turn_ += sent;
  const bool shared = together_ != nullptr && together_->limited();
  if (shared) send_again_at_ = together_->spend(sent, loop_.now());
  return shared || sent_in_turn_ >= kSendTurnBytes;
}

base::Task<void> Transport::pause() {
  sent_in_turn_ = 0;
  if (send_again_at_ > loop_.now()) {
    co_await sleep(send_again_at_);
  } else {
    co_await loop_.yield();
  }
}

base::Task<void> Transport::sleep(base::TimePoint until) {
  const base::Signal::Ticket ticket = cancelled_.ticket();
  if (!waiter_.cancelled()) co_await cancelled_.wait(ticket, until);
  if (waiter_.cancelled()) throw ConnectionError("the connection was ended");
}

base::Task<void> Transport::wait_readable(base::TimePoint deadline) {
  if (buffered()) co_return;
  co_await wait(Want::read, deadline);
}

base::Task<size_t> Transport::read(char* out, size_t size, base::TimePoint deadline) {
  while (true) {
    const Attempt attempt = try_read(out, size);
    if (attempt.want == Want::nothing) co_return attempt.bytes;
    co_await wait(attempt.want, deadline);
  }
}

bool Transport::peer_left() const {
  pollfd socket{socket_.get(), POLLRDHUP, 0};
  return ::poll(&socket, 1, 0) > 0;  // POLLERR and POLLHUP come unasked
}

base::Task<void> Transport::write(Parts parts, bool more) {
  while (!all_sent(parts)) {
    const Attempt attempt = try_write(parts, more);
    if (attempt.want != Want::nothing) {
      co_await wait_to_send(attempt.want);
      continue;
    }
    advance(parts, attempt.bytes);
    if (pause_is_due(attempt.bytes)) co_await pause();
  }
}

base::Task<void> Transport::close(bool peer_may_be_sending) {
  end_stream();
  if (peer_may_be_sending) co_await drop_input();
  co_await wait_until_taken();
}

base::Task<void> Transport::drop_input() {
  ::shutdown(socket_.get(), SHUT_WR);
  const base::TimePoint deadline = loop_.after(kLingerTime);
  const auto dropped = std::make_unique_for_overwrite<char[]>(kDropBuffer);
  size_t total = 0;
  while (total < kLingerBytes) {
    // Below TLS: the bytes are not looked at.
    const ssize_t n = ::recv(socket_.get(), dropped.get(), kDropBuffer, 0);
    if (n == 0) co_return;
    if (n > 0) {
      total += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      base::Ready ready = base::Ready::cancelled;
      ready = co_await waiter_.readable(deadline);
      if (ready != base::Ready::ready) co_return;
    } else if (errno != EINTR) {
      co_return;
    }
  }
}

base::Task<void> Transport::wait_until_taken() {
  if (!much_is_untaken()) co_return;
  ::shutdown(socket_.get(), SHUT_WR);  // the end follows what is not taken yet
  bool peer_ended = false;
  while (much_is_untaken()) {
    note_taken();
    if (pace_.too_slow()) throw TimedOut("the client takes too little");
    const base::TimePoint until = std::min(pace_.begin_wait(), loop_.after(kTakenInterval));
    if (peer_ended) {
      co_await sleep(until);
    } else {
      // A peer that has got everything ends its side.
      co_await waiter_.readable(until);
      if (waiter_.cancelled()) throw ConnectionError("the connection was ended");
      peer_ended = drop_some_input();
    }
    pace_.end_wait();
  }
}

// True if there is nothing more to come.
bool Transport::drop_some_input() {
  std::array<char, 4096> dropped;
  const ssize_t n = ::recv(socket_.get(), dropped.data(), dropped.size(), 0);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

void Transport::reset() {
  const linger none{1, 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  cancel();
}

}  // namespace http

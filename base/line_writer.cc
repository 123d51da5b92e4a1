#include "base/line_writer.h"

#include <glog/logging.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/thread_signals.h"

namespace base {
namespace {

// What is written at once: as much as a pipe takes in one piece (pipe(7)), so that nothing of
// another writer, such as standard error on the same pipe, gets into a line that is not longer.
constexpr size_t kChunk = PIPE_BUF;
// How long a line waits for others, unless there are so many bytes: at a high rate the thread wakes
// for many lines.
constexpr std::chrono::milliseconds kGather(5);
constexpr size_t kEnough = 64 << 10;

// How much of it was written: less if the descriptor cannot be written at all.
size_t write_all(int fd, std::string_view text) {
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t n = ::write(fd, text.data() + written, text.size() - written);
    if (n > 0) {
      written += static_cast<size_t>(n);
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      // Somebody else may have made it non-blocking: it is theirs as well.
      pollfd writable{.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&writable, 1, -1);
    } else {
      break;
    }
  }
  return written;
}

}  // namespace

struct LineWriter::Queue {
  explicit Queue(LineWriterOptions its_options) : options(std::move(its_options)) {}

  const LineWriterOptions options;
  std::mutex mutex;  // guards all that follows
  std::condition_variable changed;
  std::deque<std::string> chunks;  // whole lines, in order; only the last is added to
  size_t bytes = 0;                // of the chunks, and of the one that is being written
  uint64_t dropped = 0;
  uint64_t untold = 0;   // of them, what the log was not told yet
  bool closing = false;  // no line is added any more
  bool written = false;  // the thread is done
  bool left = false;     // nobody waits for the thread any more
};

LineWriter::LineWriter(LineWriterOptions options)
    : queue_(std::make_shared<Queue>(std::move(options))) {
  std::thread([queue = queue_] { write_lines(queue); }).detach();
}

LineWriter::~LineWriter() {
  std::unique_lock lock(queue_->mutex);
  queue_->closing = true;
  queue_->changed.notify_all();
  queue_->changed.wait_for(lock, queue_->options.patience, [this] { return queue_->written; });
  queue_->left = true;
  if (queue_->written) return;
  const size_t unwritten = queue_->bytes;
  lock.unlock();
  LOG(WARNING) << "the end of " << queue_->options.name << ", at most " << unwritten
               << " bytes, was not written: its reader has stopped";
}

void LineWriter::add(std::string_view line) {
  Queue& q = *queue_;
  const std::lock_guard lock(q.mutex);
  const size_t size = line.size() + 1;
  if (q.bytes + size > q.options.most_bytes) {
    ++q.dropped;
    ++q.untold;
    return;
  }
  const bool first = q.chunks.empty();
  const bool enough = q.bytes < kEnough && q.bytes + size >= kEnough;
  q.bytes += size;
  if (first || q.chunks.back().size() + size > kChunk) q.chunks.emplace_back().reserve(kChunk);
  q.chunks.back().append(line).push_back('\n');
  if (first || enough) q.changed.notify_all();
}

uint64_t LineWriter::dropped() const {
  const std::lock_guard lock(queue_->mutex);
  return queue_->dropped;
}

void LineWriter::write_lines(const std::shared_ptr<Queue>& queue) {
  leave_signals_to_main_thread();
  Queue& q = *queue;
  std::unique_lock lock(q.mutex);
  while (true) {
    q.changed.wait(lock, [&] { return q.closing || !q.chunks.empty(); });
    if (q.chunks.empty()) break;
    q.changed.wait_for(lock, kGather, [&] { return q.closing || q.bytes >= kEnough; });
    bool written = true;
    while (!q.chunks.empty() && !q.left) written = write_chunk(q, lock);
    if (q.left) break;
    if (written && q.untold > 0) tell_dropped(q, lock);
  }
  q.written = true;
  q.changed.notify_all();
}

// False if not all of it could be written. These two let go of the lock meanwhile.
bool LineWriter::write_chunk(Queue& q, std::unique_lock<std::mutex>& lock) {
  const std::string chunk = std::move(q.chunks.front());
  q.chunks.pop_front();
  lock.unlock();
  const size_t written = write_all(q.options.fd, chunk);
  lock.lock();
  q.bytes -= chunk.size();
  const std::string_view lost = std::string_view(chunk).substr(written);
  const auto lines = static_cast<uint64_t>(std::ranges::count(lost, '\n'));
  q.dropped += lines;
  q.untold += lines;
  return lost.empty();
}

// Once it flows again; while it is stuck, that would be said of every line.
void LineWriter::tell_dropped(Queue& q, std::unique_lock<std::mutex>& lock) {
  const uint64_t lines = std::exchange(q.untold, 0);
  lock.unlock();
  LOG(WARNING) << lines << " lines of " << q.options.name
               << " were dropped: nobody took them, or they could not be written";
  lock.lock();
}

}  // namespace base

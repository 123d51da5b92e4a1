// LineWriter: writes lines to a descriptor whose reader may stop reading, such as standard output
// that is a pipe. Who adds lines never waits for it: a thread of its own writes, and what it has
// not written by the time that `most_bytes` wait is dropped, line by line, and counted.
//
// Lines go out in the order in which they were added, whole, and many in one write: within a few
// milliseconds.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace base {

struct LineWriterOptions {
  int fd = -1;       // not owned; open as long as the LineWriter
  std::string name;  // for the log: "the access log"
  size_t most_bytes = 16 << 20;
  // How long the destructor waits for what is not written yet.
  std::chrono::milliseconds patience = std::chrono::seconds(5);
};

// Thread-safe.
class LineWriter {
 public:
  explicit LineWriter(LineWriterOptions options);
  // Writes what was added, for as long as its patience allows. If the reader has stopped, the
  // thread is left behind in its write.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;

  // The line has no end of its own. Never blocks.
  void add(std::string_view line);
  // Lines that were not written and never will be: they found no room, or the write failed.
  uint64_t dropped() const;

 private:
  struct Queue;
  static void write_lines(const std::shared_ptr<Queue>& queue);
  static bool write_chunk(Queue& q, std::unique_lock<std::mutex>& lock);
  static void tell_dropped(Queue& q, std::unique_lock<std::mutex>& lock);

  const std::shared_ptr<Queue> queue_;  // the thread's too, which may outlive this
};

}  // namespace base

#include "bench/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace bench {

Progress::Progress(int steps) : terminal_(isatty(STDERR_FILENO) == 1), steps_(steps) {}
Progress::~Progress() { clear(); }

void Progress::step(const std::string& what) {
  ++step_;
  what_ = what;
  update(0, 0, 0);
}

void Progress::update(uint64_t bytes, double seconds, double share) {
  const double mib = static_cast<double>(bytes) / (1 << 20);
  char text[160];
  int length = std::snprintf(text, sizeof text, "[%2d/%d] %-40s", step_, steps_, what_.c_str());
  if (seconds > 0 && share > 0) {
    const auto left = static_cast<int>(std::ceil(seconds / share - seconds));
    std::snprintf(text + length, sizeof text - static_cast<size_t>(length),
                  " %9.1f MiB %8.1f MiB/s  ETA %d:%02d", mib, mib / seconds, left / 60, left % 60);
  }
  line(text);
}

void Progress::clear() { line(""); }

void Progress::line(const std::string& text) {
  if (terminal_) dprintf(STDERR_FILENO, "\r\033[K%s", text.c_str());
}

}  // namespace bench

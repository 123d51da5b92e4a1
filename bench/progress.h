// The progress line on a terminal: which step of how many, what has moved, how fast, how much
// longer. Silent when stderr is not a terminal. Main thread only.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

class Progress {
 public:
  explicit Progress(int steps);
  ~Progress();

  // Begins the next step.
  void step(const std::string& what);
  // Of the current step: bytes so far, seconds since its start, share done (0 to 1).
  void update(uint64_t bytes, double seconds, double share);
  void clear();

 private:
  void line(const std::string& text);
  const bool terminal_;
  const int steps_;
  int step_ = 0;
  std::string what_;
};

}  // namespace bench

// Probe: a look at something that may hang, as a dead NFS mount does, without hanging with it.
//
// Each look has a thread of its own, so that none of a pool's is lost to it; while one hangs, no
// other is begun. Lives on one loop; the thread may outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"

namespace base {

class Probe {
 public:
  // Blocks; returns what is wrong, or "". It may run after the probe is gone, so it holds what it
  // needs by value.
  using Look = std::function<std::string()>;

  explicit Probe(Look look);

  // What the look found wrong, or that it has not come back in time. std::system_error if there is
  // no thread to be had.
  Task<std::string> look(EventLoop& loop, Duration timeout);
  // Ends the wait in progress, and all later ones, with "".
  void cancel();

 private:
  struct State;
  const std::shared_ptr<State> state_;  // shared with the thread
  bool looking_ = false;
};

}  // namespace base

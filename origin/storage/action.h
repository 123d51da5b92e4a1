// How long the storage takes: one histogram per kind of action, under the names that Distribution's
// filesystem driver has for them (registry_storage_action_seconds). Of the whole process, like the
// storage; any thread.
#pragma once

#include <prometheus/collectable.h>

#include <chrono>

namespace origin {

enum class Action { get_content, put_content, reader, writer, stat, list, move, remove, walk };

// Times what happens as long as it lives.
class ActionTimer {
 public:
  explicit ActionTimer(Action action) : action_(action) {}
  ~ActionTimer();
  ActionTimer(const ActionTimer&) = delete;
  ActionTimer& operator=(const ActionTimer&) = delete;

 private:
  const Action action_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

// The times so far, for base::Metrics::include.
const prometheus::Collectable& action_times();

}  // namespace origin

// UploadPurger: removes uploads that nobody goes on with (Distribution's
// storage.maintenance.uploadpurging).
//
// An upload goes when it began, and was last written, longer than the age ago, and no request holds
// it. While the registry is read-only none goes, and a round in progress ends. The first round
// comes a random time after the start, within the interval and an hour, so that replicas that start
// together do not all walk the storage at once.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/loop_group.h"
#include "base/signal.h"
#include "base/task.h"
#include "base/thread_pool.h"
#include "origin/maintenance/writes.h"
#include "origin/storage/storage.h"

namespace origin {

struct UploadPurging {
  bool enabled = true;
  std::chrono::nanoseconds age = std::chrono::hours(168);
  std::chrono::nanoseconds interval = std::chrono::hours(24);
  bool dry_run = false;  // only say what would be removed

  bool operator==(const UploadPurging&) const = default;
};

// Constructed, stopped and destroyed on one thread, which runs no loop. Storage, writes, loops and
// pool outlive it.
class UploadPurger {
 public:
  // Runs on the first loop, in that loop's time, if enabled.
  UploadPurger(const UploadPurging& options, Storage& storage, Writes& writes,
               base::LoopGroup& loops, base::ThreadPool& pool);
  ~UploadPurger() { stop(); }

  // Returns when no round runs any more; a round in progress ends after the upload or
  // directory it is at.
  void stop();

  // One round, as of now by the system's clock: blocks, for the pool. What fails is logged, and
  // the others are removed all the same.
  void purge();

 private:
  struct Summary;
  base::Task<void> run();
  base::Task<void> join();
  bool ends(Summary& summary) const;
  void walk(const std::string& name, Summary& summary);
  void consider(const std::string& repository, const std::string& id, Summary& summary);

  const UploadPurging options_;
  Storage& storage_;
  Writes& writes_;
  base::LoopGroup& loops_;
  base::ThreadPool& pool_;
  base::Signal stop_signal_;
  std::atomic<bool> stopping_ = false;
  base::TaskScope scope_;  // on the first loop
};

}  // namespace origin

#include "origin/maintenance/upload_purger.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include "base/error.h"
#include "base/log.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// As Distribution's: one that is restarted every day comes to it too.
constexpr std::chrono::hours kFirstRoundWithin(1);

}  // namespace

struct UploadPurger::Summary {
  std::chrono::system_clock::time_point before;  // what is older goes
  size_t uploads = 0;
  size_t failures = 0;
  uint64_t bytes = 0;
  bool stopped = false;

  // What a step cannot do is counted, and keeps nothing else from being purged.
  template <typename Step>
  void attempt(const Step& step) {
    try {
      step();
    } catch (const base::IoError& e) {
      ++failures;
      LOG(ERROR) << "upload purging: " << e.what();
    }
  }
};

UploadPurger::UploadPurger(const UploadPurging& options, Storage& storage, Writes& writes,
                           base::LoopGroup& loops, base::ThreadPool& pool)
    : options_(options), storage_(storage), writes_(writes), loops_(loops), pool_(pool) {
  if (options_.enabled) loops_.call(0, [this] { scope_.spawn(run()); });
}

void UploadPurger::stop() {
  if (stopping_.exchange(true)) return;
  stop_signal_.notify();
  loops_.await(0, [this] { return join(); });
}

base::Task<void> UploadPurger::join() { co_await scope_.join(); }

base::Task<void> UploadPurger::run() {
  base::EventLoop& loop = *base::EventLoop::current();
  std::random_device random;
  const base::Duration most = std::min<base::Duration>(options_.interval, kFirstRoundWithin);
  base::Duration delay(std::uniform_int_distribution<base::Duration::rep>(0, most.count())(random));
  while (true) {
    const base::Signal::Ticket ticket = stop_signal_.ticket();
    if (stopping_) co_return;
    const bool stopped = co_await stop_signal_.wait(ticket, loop.after(delay));
    if (stopped) co_return;
    co_await pool_.run([this] { purge(); });
    delay = options_.interval;
  }
}

void UploadPurger::purge() {
  Summary summary;
  summary.before = std::chrono::system_clock::now() -
                   std::chrono::duration_cast<std::chrono::system_clock::duration>(options_.age);
  summary.attempt([&] {
    for (const std::string& name : list_directories(storage_.layout.repositories())) {
      if (ends(summary)) return;
      walk(name, summary);
    }
  });
  LOG(INFO) << "upload purging: " << summary.uploads << " uploads with " << summary.bytes
            << " bytes " << (options_.dry_run ? "would be removed" : "removed") << ", "
            << summary.failures << " failures" << (summary.stopped ? ", stopped early" : "");
}

bool UploadPurger::ends(Summary& summary) const {
  if (stopping_) summary.stopped = true;
  return summary.stopped;
}

// Every directory that may be a repository: one that has nothing but uploads is not in the catalog.
void UploadPurger::walk(const std::string& name, Summary& summary) {
  summary.attempt([&] {
    for (const std::string& child : list_directories(storage_.layout.repository(name))) {
      if (ends(summary)) return;
      if (child.front() == '_') continue;
      std::string below = name;
      below += '/';
      walk(below += child, summary);
    }
    if (ends(summary)) return;
    for (const std::string& id : storage_.uploads.list(name)) {
      if (ends(summary)) return;
      consider(name, id, summary);
    }
  });
}

void UploadPurger::consider(const std::string& repository, const std::string& id,
                            Summary& summary) {
  const std::optional<Writes::Write> write = writes_.begin();
  summary.stopped = !write;
  if (!write) return;
  summary.attempt([&] {
    const auto bytes = options_.dry_run
                           ? storage_.uploads.unused_size(repository, id, summary.before)
                           : storage_.uploads.remove_unused(repository, id, summary.before);
    if (!bytes) return;
    ++summary.uploads;
    summary.bytes += *bytes;
    LOG(INFO) << "upload purging: " << base::printable(repository) << " upload "
              << base::printable(id) << " with " << *bytes << " bytes "
              << (options_.dry_run ? "would be removed" : "removed");
  });
}

}  // namespace origin

// Health: whether this registry should get requests. Checks of the configuration's section "health"
// are made regularly; while one fails, every request is refused, as in Distribution, and /healthz
// tells load balancers. /healthz goes by a look at the storage also if that section asks for none.
//
// The checks run on loop 0 of the group, which must outlive this; asking is for any thread.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/loop_group.h"
#include "base/probe.h"
#include "base/signal.h"
#include "http/message.h"
#include "origin/health_config.h"

namespace origin {

class Health {
 public:
  // `root` is the storage's, for the check of it.
  Health(base::LoopGroup& loops, const HealthConfig& config, const std::filesystem::path& root);
  ~Health();

  // What a check that fails keeps away: all requests, or those of clients that heed /healthz.
  enum class Refuses { all, by_healthz };

  // A further check, before start().
  void add(const std::string& name, const HealthConfig::Timing& timing, base::Duration timeout,
           base::Probe::Look look, Refuses refuses = Refuses::all);

  // Begins to check, at once. Neither of the two from a loop's thread.
  void start();
  void stop();

  // True while requests are to be refused: a check has failed as often as its threshold says.
  bool failing() const { return failing_; }
  // What fails, by the check's name, for /debug/health.
  std::map<std::string, std::string> errors() const;

  // From now on /healthz says 503: the registry is about to end.
  void leave() { leaving_ = true; }
  // The answer for /healthz.
  http::Response healthz(const http::Request& request) const;

 private:
  class Check;
  class ProbeCheck;
  class HttpCheck;

  // The name, with a number after it if another check has it: addresses may differ in no more than
  // their password, which is not shown.
  std::string unused_name(const std::string& name) const;
  static base::Task<void> watch(Health* health, Check* check);
  void update(Check& check, std::string error);

  base::LoopGroup& loops_;
  std::vector<std::unique_ptr<Check>> checks_;
  base::TaskScope scope_;  // touched on loop 0 only
  base::Signal stopped_;
  bool stopping_ = false;  // touched on loop 0 only
  bool started_ = false;
  std::atomic<bool> failing_ = false;
  std::atomic<bool> unhealthy_ = false;  // by whichever check
  std::atomic<bool> leaving_ = false;
  mutable std::mutex mutex_;
  std::map<std::string, std::string> errors_;  // guarded by mutex_
};

}  // namespace origin

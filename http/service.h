// Service: what the main function of a server program does around its server: signals, the service
// manager, exit codes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/event_loop.h"
#include "base/loop_group.h"
#include "base/service_manager.h"

namespace http {

// Exit codes of both programs.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // cannot serve: storage, listener, certificates
inline constexpr int kExitUsage = 2;    // command line or configuration is wrong

// What a program whose transfers are over may still take to end: to write what it knows to its
// disk.
inline constexpr std::chrono::seconds kEndTime(10);

// What the program does when it is told to; all but the last two are called on the main thread.
struct ServiceCalls {
  // Begins to serve. Signals are heard from before it on, and acted upon after it.
  std::function<void()> start;
  std::function<void()> reload;  // SIGHUP
  // SIGUSR2: has another process take the place of this one. May be empty.
  std::function<void()> upgrade;
  // SIGTERM or SIGINT: tells load balancers to go elsewhere, and returns how long to serve them
  // until they have seen it. May be empty.
  std::function<std::chrono::nanoseconds()> leave;
  // How long the drain may take, and all until the service is destroyed. What hangs longer, as on a
  // disk that gives no answer, is left behind: the process ends at once. May be empty.
  std::function<std::chrono::nanoseconds()> end_within;
  // After that: stops accepting, ends what is served. Blocks, on a thread of its own.
  std::function<void()> drain;
  // What drain waits for now, for the log. Any thread. May be empty if end_within is.
  std::function<std::string()> waits_for;
};

// Make it before any other thread starts, on the main thread. SIGPIPE is ignored from then on. What
// is made after it, and so ends before it, has to end within ServiceCalls::end_within.
class Service {
 public:
  Service();

  // The sockets that the service manager listens on for the program.
  const std::vector<base::InheritedSocket>& sockets() const { return sockets_; }

  // Starts, tells the service manager that the program is ready, and runs until it has drained
  // after SIGTERM or SIGINT; a second one ends the process at once. Throws what `start` throws.
  // `loops` are those that serve: if the service manager has a watchdog, it hears from it as long
  // as all of them run.
  void run(base::LoopGroup& loops, ServiceCalls calls);
  // Has run() drain and return, because another process serves in place of this one; the service
  // manager is told. While run() runs; any thread.
  void leave_to(pid_t successor);

 private:
  void end_within(std::chrono::nanoseconds limit);

  std::function<void(pid_t)> leave_to_;  // while run() runs, on its thread
  const std::vector<base::InheritedSocket> sockets_ = base::inherited_sockets();
  base::EventLoop loop_;
  std::mutex mutex_;
  std::condition_variable_any over_;
  std::function<std::string()> waits_for_;  // guarded by mutex_: what the end waits for
  std::jthread last_resort_;                // from the drain on
};

}  // namespace http

// Service: what the main function of a server program does around its server: signals, the service
// manager, exit codes.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "base/event_loop.h"
#include "base/loop_group.h"
#include "base/service_manager.h"

namespace http {

// Exit codes of both programs.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // cannot serve: storage, listener, certificates
inline constexpr int kExitUsage = 2;    // command line or configuration is wrong

// What the program does when it is told to; all but the last are called on the main thread.
struct ServiceCalls {
  // Begins to serve. Signals are heard from before it on, and acted upon after it.
  std::function<void()> start;
  std::function<void()> reload;  // SIGHUP
  // SIGTERM or SIGINT: tells load balancers to go elsewhere, and returns how long to serve them
  // until they have seen it. May be empty.
  std::function<std::chrono::nanoseconds()> leave;
  // After that: stops accepting, ends what is served. Blocks, on a thread of its own.
  std::function<void()> drain;
};

// Make it before any other thread starts, on the main thread. SIGPIPE is ignored from then on.
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

 private:
  const std::vector<base::InheritedSocket> sockets_ = base::inherited_sockets();
  base::EventLoop loop_;
};

}  // namespace http

// Service: what the main function of a server program does around its server: signals and exit
// codes.
#pragma once

#include <functional>

#include "base/event_loop.h"

namespace http {

// Exit codes of both programs.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // cannot serve: storage, listener, certificates
inline constexpr int kExitUsage = 2;    // command line or configuration is wrong

// Make it before any other thread starts, on the main thread.
class Service {
 public:
  Service();

  // Runs until SIGTERM or SIGINT; calls `reload` for each SIGHUP. SIGPIPE is ignored from
  // construction on.
  void run(std::function<void()> reload);

 private:
  base::EventLoop loop_;
};

}  // namespace http

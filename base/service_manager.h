// What systemd, or whoever started the program, gives it and wants to hear from it: the only unit
// that sees libsystemd. Without a service manager all of it does nothing.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace base {

// A listening socket that was there before the program (sd_listen_fds(3)). It stays open to the
// program's end, as it stays open in the service manager: who connects meanwhile is served by the
// next program.
struct InheritedSocket {
  int fd = -1;
  std::string name;  // FileDescriptorName= of the socket unit
};

// In the order of the socket unit; empty without socket activation. Call once, before any thread
// starts: the variables that say so are removed, so that no child takes them for its own.
std::vector<InheritedSocket> inherited_sockets();

// Tells the service manager (sd_notify(3)), e.g. "READY=1\nSTATUS=serving". Any thread.
void notify_service_manager(const std::string& state);

// How long the service manager waits for "WATCHDOG=1" (WatchdogSec=); nullopt if it does not.
std::optional<std::chrono::nanoseconds> watchdog_timeout();

}  // namespace base

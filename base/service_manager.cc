#include "base/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdint>
#include <cstdlib>

#include "base/error.h"

namespace base {

std::vector<InheritedSocket> inherited_sockets() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  if (count < 0) throw IoError(-count, "sockets from the service manager");
  std::vector<InheritedSocket> sockets;
  for (int i = 0; i < count; ++i) {
    sockets.push_back({SD_LISTEN_FDS_START + i, names[i]});
    std::free(names[i]);
  }
  std::free(static_cast<void*>(names));
  return sockets;
}

void notify_service_manager(const std::string& state) {
  // There is nobody to tell if it fails.
  sd_notify(/*unset_environment=*/0, state.c_str());
}

std::optional<std::chrono::nanoseconds> watchdog_timeout() {
  uint64_t microseconds = 0;
  if (sd_watchdog_enabled(/*unset_environment=*/0, &microseconds) <= 0) return std::nullopt;
  return std::chrono::microseconds(microseconds);
}

}  // namespace base

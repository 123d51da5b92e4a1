#include "http/service.h"

#include <glog/logging.h>
#include <signal.h>
#include <unistd.h>

#include <ctime>
#include <optional>
#include <string>
#include <thread>

#include "base/thread_signals.h"
#include "base/watchdog.h"

namespace http {
namespace {

constexpr const char* kReady = "READY=1\nSTATUS=serving";

// sd_notify(3): a reload is told with the time it began.
std::string reloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const long long microseconds = now.tv_sec * 1'000'000LL + now.tv_nsec / 1000;
  return "RELOADING=1\nSTATUS=reading the configuration again\nMONOTONIC_USEC=" +
         std::to_string(microseconds);
}

}  // namespace

Service::Service() { ::signal(SIGPIPE, SIG_IGN); }

void Service::run(base::LoopGroup& loops, ServiceCalls calls) {
  std::jthread draining;
  bool leaving = false;
  const auto drain = [&] {
    LOG(INFO) << "draining";
    draining = std::jthread([this, &calls] {
      base::leave_signals_to_main_thread();
      calls.drain();
      loop_.stop();
    });
  };
  for (const int number : {SIGTERM, SIGINT}) {
    loop_.on_signal(number, [&, number] {
      const char* name = number == SIGTERM ? "SIGTERM" : "SIGINT";
      if (std::exchange(leaving, true)) {
        LOG(WARNING) << name << " again: ending at once";
        ::_exit(kExitFailure);
      }
      // Done before it is told: who reads that the program ends finds it so.
      const auto delay = calls.leave ? calls.leave() : std::chrono::nanoseconds::zero();
      LOG(INFO) << name << ": ending";
      base::notify_service_manager("STOPPING=1\nSTATUS=draining");
      loop_.add_timer(loop_.after(delay), drain);
    });
  }
  loop_.on_signal(SIGHUP, [&] {
    if (leaving) return;
    base::notify_service_manager(reloading());
    calls.reload();
    base::notify_service_manager(kReady);
  });
  calls.start();
  std::optional<base::Watchdog> watchdog;
  if (const auto timeout = base::watchdog_timeout()) {
    watchdog.emplace(loop_, loops, *timeout, [] { base::notify_service_manager("WATCHDOG=1"); });
  }
  base::notify_service_manager(kReady);
  loop_.run();
}

}  // namespace http

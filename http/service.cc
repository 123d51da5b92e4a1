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
    if (calls.end_within) end_within(calls.end_within());
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
  loop_.on_signal(SIGUSR2, [&] {
    if (!calls.upgrade) LOG(ERROR) << "SIGUSR2: this program cannot be taken over";
    if (calls.upgrade && !leaving) calls.upgrade();
  });
  leave_to_ = [&](pid_t successor) {
    if (std::exchange(leaving, true)) return;
    base::notify_service_manager("MAINPID=" + std::to_string(successor));
    drain();
  };
  loop_.on_signal(SIGHUP, [&] {
    if (leaving) return;
    base::notify_service_manager(reloading());
    calls.reload();
    base::notify_service_manager(kReady);
  });
  waits_for_ = calls.waits_for;
  calls.start();
  std::optional<base::Watchdog> watchdog;
  if (const auto timeout = base::watchdog_timeout()) {
    watchdog.emplace(loop_, loops, *timeout, [] { base::notify_service_manager("WATCHDOG=1"); });
  }
  base::notify_service_manager(kReady);
  loop_.run();
  const std::lock_guard lock(mutex_);
  waits_for_ = [] { return "its files to be closed"; };
}

void Service::end_within(std::chrono::nanoseconds limit) {
  last_resort_ = std::jthread([this, limit](const std::stop_token& ended) {
    base::leave_signals_to_main_thread();
    std::unique_lock lock(mutex_);
    over_.wait_for(lock, ended, limit, [] { return false; });
    if (ended.stop_requested()) return;
    LOG(ERROR) << "ending at once: its time is over, and it still waits for " << waits_for_();
    ::_exit(kExitFailure);
  });
}

void Service::leave_to(pid_t successor) {
  loop_.post([this, successor] { leave_to_(successor); });
}

}  // namespace http

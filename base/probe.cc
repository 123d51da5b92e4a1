#include "base/probe.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include "base/signal.h"
#include "base/thread_signals.h"

namespace base {

struct Probe::State {
  explicit State(Look f) : look(std::move(f)) {}

  std::optional<std::string> take() {
    const std::lock_guard lock(mutex);
    return std::exchange(result, std::nullopt);
  }

  const Look look;
  Signal changed;  // there is a result, or cancelled
  std::atomic<bool> cancelled = false;
  std::mutex mutex;
  std::optional<std::string> result;  // guarded by mutex
};

Probe::Probe(Look look) : state_(std::make_shared<State>(std::move(look))) {}

Task<std::string> Probe::look(EventLoop& loop, Duration timeout) {
  if (!looking_) {
    std::thread([state = state_] {
      leave_signals_to_main_thread();
      std::string found;
      try {
        found = state->look();
      } catch (const std::exception& e) {
        found = e.what();
      }
      {
        const std::lock_guard lock(state->mutex);
        state->result = std::move(found);
      }
      state->changed.notify();
    }).detach();
    looking_ = true;
  }
  const TimePoint deadline = loop.after(timeout);
  while (true) {
    const Signal::Ticket ticket = state_->changed.ticket();
    if (state_->cancelled) co_return "";
    if (auto result = state_->take()) {
      looking_ = false;
      co_return *std::move(result);
    }
    const bool in_time = co_await state_->changed.wait(ticket, deadline);
    if (!in_time) break;
  }
  std::ostringstream text;
  text << "no answer within " << std::chrono::duration<double>(timeout).count() << " s";
  co_return text.str();
}

void Probe::cancel() {
  state_->cancelled = true;
  state_->changed.notify();
}

}  // namespace base

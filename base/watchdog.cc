#include "base/watchdog.h"

namespace base {

Watchdog::Watchdog(EventLoop& loop, LoopGroup& watched, Duration timeout,
                   std::function<void()> alive)
    : loop_(loop), watched_(watched), interval_(timeout / 4), alive_(std::move(alive)) {
  ask();
}

Watchdog::~Watchdog() { loop_.cancel_timer(timer_); }

void Watchdog::ask() {
  *answers_ = 0;
  for (size_t i = 0; i < watched_.size(); ++i) {
    watched_.loop(i).post([answers = answers_] { ++*answers; });
  }
  timer_ = loop_.add_timer(loop_.after(interval_), [this] { look(); });
}

void Watchdog::look() {
  if (*answers_ == watched_.size()) {
    alive_();
    ask();
  } else {
    // A loop that is late is not asked twice: the answer to the first question will do.
    timer_ = loop_.add_timer(loop_.after(interval_), [this] { look(); });
  }
}

}  // namespace base

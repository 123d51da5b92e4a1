#include "http/service.h"

#include <glog/logging.h>
#include <signal.h>

namespace http {

Service::Service() { ::signal(SIGPIPE, SIG_IGN); }

void Service::run(std::function<void()> reload) {
  for (const int number : {SIGTERM, SIGINT}) {
    loop_.on_signal(number, [this, number] {
      LOG(INFO) << (number == SIGTERM ? "SIGTERM" : "SIGINT") << ": draining";
      loop_.stop();
    });
  }
  loop_.on_signal(SIGHUP, std::move(reload));
  loop_.run();
}

}  // namespace http

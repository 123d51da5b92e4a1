#include "http/connection.h"

namespace http {

IdleConnections::Wait::Wait(IdleConnections& all, Connection& connection)
    : all_(all), connection_(connection), at_(all.waits_.insert(all.waits_.end(), this)) {}

IdleConnections::Wait::~Wait() {
  if (listed_) all_.waits_.erase(at_);
}

bool IdleConnections::make_room() {
  bool made = false;
  while (!made && !waits_.empty()) {
    Wait* const longest = waits_.front();
    // Its end may take a moment, and is asked for once.
    waits_.pop_front();
    longest->listed_ = false;
    made = longest->connection_.make_room();
  }
  return made;
}

}  // namespace http

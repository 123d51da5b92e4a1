#include "origin/maintenance/writes.h"

#include <glog/logging.h>

namespace origin {

Writes::Writes(bool read_only) : read_only_(read_only) {
  if (read_only) say_at_rest();
}

std::optional<Writes::Write> Writes::begin() {
  const std::lock_guard lock(mutex_);
  if (read_only_) return std::nullopt;
  ++in_flight_;
  return std::make_optional<Write>(*this);
}

void Writes::end() {
  const std::lock_guard lock(mutex_);
  if (--in_flight_ == 0 && read_only_) say_at_rest();
}

void Writes::set_read_only(bool read_only) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(read_only_, read_only) == read_only || !read_only) return;
  waited_for_ = in_flight_;
  if (in_flight_ == 0) say_at_rest();
}

void Writes::say_at_rest() const {
  LOG(INFO) << "read-only: no write is in progress any more (" << waited_for_ << " waited for)";
}

size_t Writes::in_flight() const {
  const std::lock_guard lock(mutex_);
  return in_flight_;
}

bool Writes::at_rest() const {
  const std::lock_guard lock(mutex_);
  return read_only_ && in_flight_ == 0;
}

}  // namespace origin

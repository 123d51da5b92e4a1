#include "proxy/request_slots.h"

#include <algorithm>

namespace proxy {

Slot::~Slot() {
  if (slots_ != nullptr) slots_->give_back();
}

std::optional<Slot> RequestSlots::try_take() {
  const std::lock_guard lock(mutex_);
  if (stopped_ || counts_.in_flight >= limit_) return std::nullopt;
  ++counts_.in_flight;
  return Slot(*this);
}

base::Task<std::optional<Slot>> RequestSlots::take(base::TimePoint deadline) {
  return take(deadline, Place::last);
}

base::Task<std::optional<Slot>> RequestSlots::take_first() {
  return take(base::kForever, Place::first);
}

base::Task<std::optional<Slot>> RequestSlots::take(base::TimePoint deadline, Place place) {
  const auto waiter = std::make_shared<Waiter>();
  const base::Signal::Ticket ticket = waiter->granted.ticket();
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_ && counts_.in_flight < limit_) {
      ++counts_.in_flight;
      co_return Slot(*this);
    }
    if (stopped_ || (place == Place::last && waiters_.size() >= queue_limit_)) {
      ++counts_.turned_away;
      co_return std::nullopt;
    }
    waiters_.insert(place == Place::first ? waiters_.begin() : waiters_.end(), waiter);
  }
  co_await waiter->granted.wait(ticket, deadline);
  const std::lock_guard lock(mutex_);
  if (waiter->has_slot) co_return Slot(*this);
  std::erase(waiters_, waiter);
  ++counts_.turned_away;
  co_return std::nullopt;
}

// The slot goes to who is in front, without becoming free in between.
void RequestSlots::give_back() {
  std::shared_ptr<Waiter> next;
  {
    const std::lock_guard lock(mutex_);
    if (waiters_.empty()) {
      --counts_.in_flight;
      return;
    }
    next = std::move(waiters_.front());
    waiters_.pop_front();
    next->has_slot = true;
  }
  next->granted.notify();
}

void RequestSlots::stop() {
  std::deque<std::shared_ptr<Waiter>> waiters;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    waiters.swap(waiters_);
  }
  for (const auto& waiter : waiters) waiter->granted.notify();
}

RequestSlots::Counts RequestSlots::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.waiting = waiters_.size();
  return counts;
}

}  // namespace proxy

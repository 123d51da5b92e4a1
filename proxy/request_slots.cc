#include "proxy/request_slots.h"

#include <algorithm>
#include <cstdint>

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
  return take(waiters_, queue_limit_, deadline);
}

base::Task<std::optional<Slot>> RequestSlots::take_first() {
  return take(first_, SIZE_MAX, base::kForever);
}

base::Task<std::optional<Slot>> RequestSlots::take(Queue& queue, size_t limit,
                                                   base::TimePoint deadline) {
  const auto waiter = std::make_shared<Waiter>();
  const base::Signal::Ticket ticket = waiter->granted.ticket();
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_ && counts_.in_flight < limit_) {
      ++counts_.in_flight;
      co_return Slot(*this);
    }
    if (stopped_ || queue.size() == limit) {
      ++counts_.turned_away;
      co_return std::nullopt;
    }
    queue.push_back(waiter);
  }
  co_await waiter->granted.wait(ticket, deadline);
  const std::lock_guard lock(mutex_);
  if (waiter->has_slot) co_return Slot(*this);
  std::erase(queue, waiter);
  ++counts_.turned_away;
  co_return std::nullopt;
}

// The slot goes to who has waited longest, without becoming free in between.
void RequestSlots::give_back() {
  std::shared_ptr<Waiter> next;
  {
    const std::lock_guard lock(mutex_);
    if (waiters_.empty() && first_.empty()) {
      --counts_.in_flight;
      return;
    }
    const bool first = !first_.empty() && (waiters_.empty() || ++given_ % kFirstOf != 0);
    Queue& queue = first ? first_ : waiters_;
    next = std::move(queue.front());
    queue.pop_front();
    next->has_slot = true;
  }
  next->granted.notify();
}

void RequestSlots::stop() {
  Queue waiters;
  Queue first;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    waiters.swap(waiters_);
    first.swap(first_);
  }
  for (const auto& waiter : waiters) waiter->granted.notify();
  for (const auto& waiter : first) waiter->granted.notify();
}

RequestSlots::Counts RequestSlots::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.waiting = waiters_.size() + first_.size();
  return counts;
}

}  // namespace proxy

// RequestSlots: how many requests to an upstream are in flight at once, of all loops together. Who
// comes when all slots are taken waits in a bounded queue, first come, first served, and not for
// ever.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "base/event_loop.h"
#include "base/signal.h"
#include "base/task.h"

namespace proxy {

class RequestSlots;

// One request's place; given back when it is destroyed, on any thread. The RequestSlots outlive it.
class Slot {
 public:
  Slot() = default;
  explicit Slot(RequestSlots& slots) : slots_(&slots) {}
  Slot(Slot&& other) noexcept : slots_(std::exchange(other.slots_, nullptr)) {}
  Slot& operator=(Slot&& other) noexcept {
    std::swap(slots_, other.slots_);
    return *this;
  }
  ~Slot();

 private:
  RequestSlots* slots_ = nullptr;
};

// Thread-safe.
class RequestSlots {
 public:
  RequestSlots(size_t limit, size_t queue) : limit_(limit), queue_limit_(queue) {}

  // nullopt: the queue is full, the deadline passed, or stop() was called.
  base::Task<std::optional<Slot>> take(base::TimePoint deadline);
  // For the rest of what clients are in the middle of: before all who wait otherwise, of whom one
  // has its turn after so many; however many wait, and however long. nullopt: stop() was called.
  static constexpr uint64_t kFirstOf = 4;
  base::Task<std::optional<Slot>> take_first();
  // nullopt: who comes now would have to wait.
  std::optional<Slot> try_take();
  // Nobody waits any more, and nobody gets a slot.
  void stop();

  struct Counts {
    size_t in_flight = 0;
    size_t waiting = 0;
    uint64_t turned_away = 0;
  };
  Counts counts() const;

 private:
  friend class Slot;
  struct Waiter {
    base::Signal granted;
    bool has_slot = false;  // guarded by mutex_
  };
  using Queue = std::deque<std::shared_ptr<Waiter>>;  // who came first is in front
  base::Task<std::optional<Slot>> take(Queue& queue, size_t limit, base::TimePoint deadline);
  void give_back();

  const size_t limit_;
  const size_t queue_limit_;
  mutable std::mutex mutex_;
  Counts counts_;  // guarded by mutex_, like all below
  Queue waiters_;
  Queue first_;         // of take_first()
  uint64_t given_ = 0;  // slots, while both waited
  bool stopped_ = false;
};

}  // namespace proxy

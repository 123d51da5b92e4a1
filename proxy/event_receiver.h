// EventReceiver: what follows at the edge from what a registry tells about its content: what was
// deleted goes, a tag that was pushed is asked for anew, and its image is warmed if so configured.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/task.h"
#include "proxy/purger.h"
#include "proxy/registry_events.h"
#include "proxy/warm_queue.h"

namespace proxy {

// Thread-safe. What it is given outlives it.
class EventReceiver {
 public:
  // `warm`: whether pushed images are fetched. `unix_time` is the wall clock.
  EventReceiver(Purger& purger, WarmQueue& queue, bool warm, std::function<int64_t()> unix_time)
      : purger_(purger), queue_(queue), warm_(warm), unix_time_(std::move(unix_time)) {}

  struct Effects {
    Purged purged;
    uint64_t warming = 0;  // images
  };
  // What was deleted is gone when it returns; images are warmed later. base::IoError: the sender
  // may repeat all of them.
  base::Task<Effects> receive(std::shared_ptr<Upstream> upstream, RegistryEvents events);

 private:
  base::Task<bool> pushed(std::shared_ptr<Upstream> upstream, RegistryEvent event);
  base::Task<Purged> removed(std::shared_ptr<Upstream> upstream, RegistryEvent event);

  Purger& purger_;
  WarmQueue& queue_;
  const bool warm_;
  const std::function<int64_t()> unix_time_;
};

}  // namespace proxy

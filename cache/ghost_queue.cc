#include "cache/ghost_queue.h"

namespace cache {

void GhostQueue::add(const oci::Digest& digest, size_t most) {
  const uint64_t hash = std::hash<oci::Digest>{}(digest);
  queue_.push_back({hash, next_number_});
  numbers_[hash] = next_number_++;
  while (queue_.size() > most) {
    const Ghost& oldest = queue_.front();
    const auto found = numbers_.find(oldest.hash);
    if (found != numbers_.end() && found->second == oldest.number) numbers_.erase(found);
    queue_.pop_front();
  }
}

bool GhostQueue::take(const oci::Digest& digest) {
  return numbers_.erase(std::hash<oci::Digest>{}(digest)) > 0;
}

}  // namespace cache

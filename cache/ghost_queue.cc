#include "cache/ghost_queue.h"

namespace cache {

void GhostQueue::add(const oci::Digest& digest, uint64_t bytes) {
  const uint64_t hash = std::hash<oci::Digest>{}(digest);
  queue_.push_back({hash, bytes, next_number_});
  numbers_[hash] = next_number_++;
  bytes_ += bytes;
}

bool GhostQueue::take(const oci::Digest& digest) {
  return numbers_.erase(std::hash<oci::Digest>{}(digest)) > 0;
}

void GhostQueue::trim(uint64_t bytes) {
  while (bytes_ > bytes) {
    const Ghost& oldest = queue_.front();
    const auto found = numbers_.find(oldest.hash);
    if (found != numbers_.end() && found->second == oldest.number) numbers_.erase(found);
    bytes_ -= oldest.bytes;
    queue_.pop_front();
  }
}

}  // namespace cache

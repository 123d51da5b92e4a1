#include "cache/eviction.h"

#include <glog/logging.h>

namespace cache {

void Eviction::insert(const Candidate& candidate) {
  const auto place = order_.emplace(candidate.last_used, candidate);
  CHECK(places_.emplace(candidate.digest, place).second) << candidate.digest.str();
}

void Eviction::touch(const oci::Digest& digest, int64_t now) {
  const auto found = places_.find(digest);
  CHECK(found != places_.end()) << digest.str();
  auto node = order_.extract(found->second);
  node.key() = now;
  node.mapped().last_used = now;
  found->second = order_.insert(order_.end(), std::move(node));
}

void Eviction::remove(const oci::Digest& digest) {
  const auto found = places_.find(digest);
  if (found == places_.end()) return;
  order_.erase(found->second);
  places_.erase(found);
}

std::optional<Eviction::Candidate> Eviction::pop_victim(
    const std::function<bool(const oci::Digest&)>& in_use) {
  for (const auto& [last_used, candidate] : order_) {
    if (in_use(candidate.digest)) continue;
    const Candidate victim = candidate;
    remove(victim.digest);
    return victim;
  }
  return std::nullopt;
}

}  // namespace cache

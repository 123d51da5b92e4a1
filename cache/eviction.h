// Eviction: which blob goes when room is needed. Now: the least recently used one that nobody
// reads. Another policy replaces this unit alone.
//
// Holds every blob and idle partial blob that could be given up. Not thread-safe; no I/O.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>

#include "oci/digest.h"

namespace cache {

class Eviction {
 public:
  struct Candidate {
    oci::Digest digest;
    uint64_t bytes;     // what removing it frees
    int64_t last_used;  // any clock that only goes forward
  };

  // REQUIRES: not there yet. In any order: what counts is last_used.
  void insert(const Candidate& candidate);
  // A use of a blob that is there.
  void touch(const oci::Digest& digest, int64_t now);
  // Forgets the blob, if it is there.
  void remove(const oci::Digest& digest);
  // Takes out the next blob to evict, passing over those in use; nullopt if there is none.
  std::optional<Candidate> pop_victim(const std::function<bool(const oci::Digest&)>& in_use);

 private:
  using Order = std::multimap<int64_t, Candidate>;  // by last_used
  Order order_;
  std::unordered_map<oci::Digest, Order::iterator> places_;
};

}  // namespace cache

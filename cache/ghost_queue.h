// GhostQueue: which blobs went lately, without their bytes. First in, first out; what is remembered
// is a 64-bit hash of the digest, so one blob in 2^64 may be taken for another, and then only its
// place in a queue is better than it should be. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "oci/digest.h"

namespace cache {

class GhostQueue {
 public:
  // Remembers it, and no more than `most` in all: the oldest are forgotten.
  void add(const oci::Digest& digest, size_t most);
  // Forgets it; false if it was not there.
  bool take(const oci::Digest& digest);

 private:
  struct Ghost {
    uint64_t hash;
    uint64_t number;
  };
  std::deque<Ghost> queue_;                         // also what was taken or added again since
  std::unordered_map<uint64_t, uint64_t> numbers_;  // by hash
  uint64_t next_number_ = 0;
};

}  // namespace cache

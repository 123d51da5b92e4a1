// Recovery: what a start finds on disk, put in order.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cache/files.h"
#include "cache/index.h"
#include "cache/layout.h"
#include "oci/digest.h"

namespace cache {

struct Recovered {
  struct Partial {
    oci::Digest digest;
    uint64_t size;
    uint64_t allocated;  // bytes on disk
    int64_t last_used;   // Unix microseconds
    std::string account;
  };
  std::unique_ptr<Index> index;
  std::unordered_map<oci::Digest, IndexRecord> blobs;
  std::vector<Partial> partials;
  std::unordered_set<oci::Digest> removed;  // have tombstones, whose files are unlinked
  bool complete = true;  // false: the tree has to be read for blobs that the index does not name
};

// What is known of a blob by its file alone.
IndexRecord record_of(const FileFacts& file);

// Opens the index, or makes a new one if it cannot be read; finishes what a crash interrupted (a
// commit, an eviction); sweeps incoming/ except the partial blobs that can be resumed. Reads no
// more than the index and incoming/. REQUIRES: the lock, and that the directories exist. Blocks;
// IoError.
Recovered recover(const Layout& layout);

}  // namespace cache

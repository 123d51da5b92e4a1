// Scrub: reads the files of held blobs again, slowly and over and over, because a disk may spoil
// bytes without a word: a copy whose digest is another one is dropped, and the next request fetches
// it anew. Small blobs in the index need that not: their bytes are hashed when they are opened.
//
// It goes through the index in the order of the digests, from anywhere, once a day at most. A blob
// is in use only while a portion of it is read, so a large one can be evicted in between. What was
// not in the page cache is not left there. Not thread-safe, but for read_bytes(). Blocks.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "cache/blob_store.h"
#include "oci/digest.h"

namespace cache {

class Scrub {
 public:
  explicit Scrub(BlobStore::Impl& store);

  // Reads what this rate, in bytes a second, allows for the time since it was called last, and that
  // of a second at most. Ends early when `go_on`, which is asked before each portion, says no, when
  // it has taken a second, and with a copy that is bad: a disk that fails for a while makes all of
  // them look so. IoError.
  void run(uint64_t rate, const std::function<bool()>& go_on);
  uint64_t read_bytes() const { return read_; }

 private:
  struct Reading {
    oci::Digest digest;
    oci::Hasher hasher;
    // As it was when the first portion was read: another copy may take its place.
    std::optional<struct stat> file;
  };

  bool begin_next();
  uint64_t read_portion(uint64_t most);
  uint64_t hash_portion(uint64_t size, uint64_t most, std::string& why);

  BlobStore::Impl& store_;
  base::TimePoint last_;
  base::TimePoint round_begins_;
  uint64_t ahead_ = 0;  // bytes that were read beyond what the rate allowed, for whole pages
  std::optional<oci::Digest> at_;  // nullopt: before the first
  std::optional<Reading> reading_;
  std::atomic<uint64_t> read_ = 0;
};

}  // namespace cache

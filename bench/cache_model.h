// Models of caches to replay traces through: who is held, no bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "bench/trace.h"
#include "cache/eviction.h"

namespace bench {

// A cache of `capacity` bytes that serves the requests of one trace, in order. What is larger than
// the capacity is not kept.
class CacheModel {
 public:
  CacheModel(const Trace& trace, uint64_t capacity) : trace_(trace), capacity_(capacity) {}
  virtual ~CacheModel() = default;
  // True if it was a hit.
  virtual bool request(size_t position) = 0;

 protected:
  uint64_t size_at(size_t position) const { return trace_.sizes[trace_.requests[position]]; }
  const Trace& trace_;
  const uint64_t capacity_;
  uint64_t used_ = 0;
};

// The edge's own eviction.
class EvictionModel : public CacheModel {
 public:
  EvictionModel(const Trace& trace, uint64_t capacity, const cache::EvictionOptions& options);
  bool request(size_t position) override;

  // What a restart does: eviction begins anew with the blobs that are held.
  enum class Restart {
    saved,    // at the places that they had; what went before it is forgotten
    arrival,  // all that is known is when they came, as after the loss of the index
    empty,    // without them
  };
  void restart(Restart kind);

 private:
  struct Held {
    Held(uint32_t its_number, uint64_t bytes, cache::Eviction::Account account,
         const cache::Place& its_place, int64_t its_arrival);
    const uint32_t number;  // of the blob
    const int64_t arrival;
    const oci::Digest digest;
    cache::Place place;
    cache::Eviction::Item item;
  };

  const cache::EvictionOptions options_;
  std::vector<std::unique_ptr<Held>> held_;  // by number of blob
  std::unique_ptr<cache::Eviction> eviction_;
  cache::Eviction::Account account_;
};

class LruModel : public CacheModel {
 public:
  LruModel(const Trace& trace, uint64_t capacity);
  bool request(size_t position) override;

 private:
  struct Links {
    uint32_t older, newer;
    bool held;
  };
  void link(uint32_t blob);
  void unlink(uint32_t blob);
  std::vector<Links> links_;  // by number of blob; the last element is both ends of the ring
};

// Belady's bound: gives up what is needed the latest, which only who knows the future can.
class BeladyModel : public CacheModel {
 public:
  BeladyModel(const Trace& trace, uint64_t capacity);
  bool request(size_t position) override;

 private:
  std::vector<size_t> next_use_;                // of the same blob, by position
  std::set<std::pair<size_t, uint32_t>> held_;  // next use, blob
  std::vector<size_t> held_until_;              // by number of blob: its next use; 0: not held
};

}  // namespace bench

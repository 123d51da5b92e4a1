// Progress: which bytes of a blob are there while it is being filled, and how its filling ended.
//
// Runs (the front one and those of far ranges) claim what they fetch and publish what they wrote;
// readers on any loop wait for bytes. The last block stays closed to readers until the digest is
// verified, so no reader can finish a wrong blob. Thread-safe; owned by the Fill.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/signal.h"
#include "proxy/outcome.h"

namespace proxy {

// Bytes [begin, end).
struct Span {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t size() const { return end - begin; }
};

// Where the last block begins: its bytes are closed until the digest is verified.
uint64_t last_block(uint64_t size);

class Progress;

// The bytes one run has taken upon itself; given back when it is destroyed, whole or not.
class Claim {
 public:
  Claim() = default;
  Claim(Progress& progress, Span span) : progress_(&progress), span_(span) {}
  Claim(Claim&& other) noexcept
      : progress_(std::exchange(other.progress_, nullptr)), span_(other.span_) {}
  Claim& operator=(Claim&&) = delete;
  ~Claim();

  explicit operator bool() const { return progress_ != nullptr; }
  Span span() const { return span_; }

 private:
  friend class Progress;
  Progress* progress_ = nullptr;
  Span span_;
};

class Progress {
 public:
  // The size is known, and which bytes are there. They are doubtful if they are from before the
  // machine's last start: a power cut may have spoilt them, so they stay closed to readers until
  // the digest is verified. Once.
  void start(uint64_t size, const std::vector<Span>& present = {}, bool doubtful = false);
  std::optional<uint64_t> size() const;

  // Claims for one run the bytes from `begin` on that nobody has or fetches, up to `limit`. Empty
  // if `begin` itself is there or claimed, if kMaxClaims are held, or after close().
  Claim claim(uint64_t begin, uint64_t limit);
  static constexpr size_t kMaxClaims = 16;
  // Lengthens a claim to `limit`, as far as nobody has or fetches what follows.
  void extend(Claim& claim, uint64_t limit);
  // Where the bytes that nobody has or fetches, behind a claim that ends here, come to their end.
  uint64_t gap_end(uint64_t offset) const;
  // These bytes, inside a claim, are written. Wakes readers.
  void publish(Span bytes);
  // Bytes there from the offset on, closed last block or not; 0 if none.
  uint64_t present(uint64_t offset) const;
  // True if all of these bytes are there.
  bool covers(Span bytes) const;
  // Bytes that are there, wherever.
  uint64_t stored() const;
  // How far the contiguous prefix reaches.
  uint64_t front() const { return present(0); }

  // No claim is given any more. True if none is held either.
  bool close();

  // The digest is right: the last block opens.
  void verify();
  bool verified() const;
  // The fill is over; who says so first has the word. Wakes everyone.
  void end(Ending ending);
  Ending ending() const;

  // What a reader may send.
  struct Readable {
    uint64_t bytes = 0;    // from the offset on; 0 with `over` false means the deadline came
    bool over = false;     // the fill ended without these bytes
    bool claimed = false;  // a run is fetching the byte at the offset
  };
  Readable readable(uint64_t offset) const;

  base::Signal& changed() { return changed_; }

 private:
  friend class Claim;
  void release(Span claim);
  void insert_locked(Span bytes);
  uint64_t present_locked(uint64_t offset) const;
  uint64_t gap_end_locked(uint64_t offset) const;
  bool claimed_locked(uint64_t offset) const;

  mutable std::mutex mutex_;
  std::optional<uint64_t> size_;         // guarded by mutex_, like all below
  std::map<uint64_t, uint64_t> spans_;   // begin → end; disjoint, never adjacent
  std::vector<Span> doubtful_;           // of what start() was given
  std::map<uint64_t, uint64_t> claims_;  // begin → end; disjoint
  bool closed_ = false;
  bool verified_ = false;
  Ending ending_;
  base::Signal changed_;
};

}  // namespace proxy

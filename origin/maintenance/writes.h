// Writes: what changes the storage, counted, so that who runs Distribution's garbage collection
// knows when nothing does. While the registry is read-only none begins, and when the last of those
// that had begun has ended, or at once if it starts so, the log says so.
//
// Thread-safe; outlives every write.
#pragma once

#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

namespace origin {

class Writes {
 public:
  // One of them, for as long as it lives.
  class Write {
   public:
    explicit Write(Writes& writes) : writes_(&writes) {}
    Write(Write&& other) noexcept : writes_(std::exchange(other.writes_, nullptr)) {}
    ~Write() {
      if (writes_ != nullptr) writes_->end();
    }

   private:
    Writes* writes_;
  };

  explicit Writes(bool read_only);

  // nullopt while the registry is read-only.
  std::optional<Write> begin();
  void set_read_only(bool read_only);

  size_t in_flight() const;
  // Read-only, and none in flight: the storage stays as it is.
  bool at_rest() const;

 private:
  void end();
  void say_at_rest() const;

  mutable std::mutex mutex_;
  bool read_only_;  // these three guarded by mutex_
  size_t in_flight_ = 0;
  size_t waited_for_ = 0;  // as many as were in flight when it became read-only
};

}  // namespace origin

// The bytes a connection has received and not yet used. Empty buffers can give their memory back,
// so that an idle connection holds none. Not thread-safe.
#pragma once

#include <cstring>
#include <memory>
#include <string_view>

namespace http {

class InputBuffer {
 public:
  std::string_view bytes() const { return {data_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  // Writable view of the unused bytes.
  char* data() { return data_.get() + begin_; }

  // Uses up the first `count` bytes; they stay readable until the next make_room() or release().
  void consume(size_t count) { begin_ += count; }

  // Makes the buffer `capacity` bytes in all, or more if it is more already, with the unused bytes
  // at its front.
  void make_room(size_t capacity) {
    const size_t used = end_ - begin_;
    if (capacity > capacity_) {
      auto larger = std::make_unique_for_overwrite<char[]>(capacity);
      if (used > 0) std::memcpy(larger.get(), data(), used);
      data_ = std::move(larger);
      capacity_ = capacity;
    } else if (used > 0 && begin_ > 0) {
      std::memmove(data_.get(), data(), used);
    }
    begin_ = 0;
    end_ = used;
  }
  char* room() { return data_.get() + end_; }
  size_t room_size() const { return capacity_ - end_; }
  void added(size_t count) { end_ += count; }

  // Gives the memory back if nothing is in it, or all beyond what is.
  void release() {
    InputBuffer smaller;
    if (!empty()) {
      smaller.make_room(end_ - begin_);
      std::memcpy(smaller.room(), data(), end_ - begin_);
      smaller.added(end_ - begin_);
    }
    *this = std::move(smaller);
  }

 private:
  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace http

// A port of 127.0.0.1 that nobody else gets for as long as this lives. Nobody listens there, so
// connections are refused, until somebody who is told its number does: a listener with
// SO_REUSEADDR, as all of ours and Go's have, may bind beside this one; the kernel gives it to
// nobody by itself.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.h"

namespace test {

class ReservedPort {
 public:
  ReservedPort();

  uint16_t number() const { return number_; }
  // "127.0.0.1:4711"
  std::string address() const { return "127.0.0.1:" + std::to_string(number_); }

 private:
  base::UniqueFd socket_;
  uint16_t number_ = 0;
};

}  // namespace test

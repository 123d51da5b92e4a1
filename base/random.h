// Random numbers that nobody can foresee. Any thread.
#pragma once

#include <cstdint>
#include <random>

namespace base {

// For salts of hashes, boundaries of messages and the like. std::exception if the system has none.
inline uint64_t random_number() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace base

// The wall clock in whole seconds, as HTTP dates, tokens and signatures have it.
#pragma once

#include <cstdint>
#include <ctime>

namespace base {

inline int64_t unix_now() { return static_cast<int64_t>(std::time(nullptr)); }

}  // namespace base

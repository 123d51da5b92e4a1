// Feeds one connection's bytes to the parser whole, byte by byte and in uneven pieces; all must see
// the same requests.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/http/parse_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const std::string whole = test::parse_all(bytes, size);
  if (test::parse_all(bytes, 1) != whole || test::parse_all(bytes, 7) != whole) std::abort();
  return 0;
}

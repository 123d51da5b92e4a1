// WWW-Authenticate as an upstream may send it.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "http/challenge.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const void* bytes = data;
  const std::string_view text(static_cast<const char*>(bytes), size);
  for (const http::Challenge& challenge : http::parse_challenges(text)) {
    if (challenge.scheme.empty()) std::abort();
    for (const auto& [name, value] : challenge.parameters) {
      if (name.empty() || value.size() > size) std::abort();
      if (value.find_first_of(std::string_view("\r\n\0", 3)) != value.npos) std::abort();
    }
  }
  return 0;
}

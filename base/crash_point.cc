#include "base/crash_point.h"

#ifdef ENTREPOT_CRASH_POINTS

#include <signal.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <string>
#include <string_view>

namespace base {
namespace {

// ENTREPOT_CRASH_AT, read once: the step's name and how many arrivals are left until the kill.
struct Target {
  std::string name;
  std::atomic<int> left = 1;

  Target() {
    const char* value = std::getenv("ENTREPOT_CRASH_AT");
    if (value == nullptr) return;
    const std::string_view text = value;
    const size_t colon = text.find(':');
    name = text.substr(0, colon);
    if (colon == std::string_view::npos) return;
    int count = 1;
    std::from_chars(text.data() + colon + 1, text.data() + text.size(), count);
    left = count;
  }
};

}  // namespace

void crash_point(const char* name) {
  static Target target;
  if (target.name.empty() || target.name != name) return;
  if (--target.left == 0) raise(SIGKILL);
}

}  // namespace base

#endif

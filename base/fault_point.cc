#include "base/fault_point.h"

#ifdef ENTREPOT_CRASH_POINTS

#include <glog/logging.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

namespace base {
namespace {

using Function = std::function<int(std::string_view)>;

struct Faults {
  std::atomic<size_t> count = 0;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const Function>, std::less<>> by_name;  // guarded by mutex
};

Faults& faults() {
  static Faults all;
  return all;
}

}  // namespace

int fault_point(const char* name, const char* subject) {
  Faults& all = faults();
  if (all.count == 0) return 0;
  std::shared_ptr<const Function> function;
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.by_name.find(std::string_view(name));
    if (found == all.by_name.end()) return 0;
    function = found->second;
  }
  return (*function)(subject);
}

InjectedFault::InjectedFault(std::string name, Function function) : name_(std::move(name)) {
  Faults& all = faults();
  const std::lock_guard lock(all.mutex);
  const auto shared = std::make_shared<const Function>(std::move(function));
  CHECK(all.by_name.emplace(name_, shared).second) << "two faults at " << name_;
  ++all.count;
}

InjectedFault::InjectedFault(std::string name, int error, const std::string& subject_contains)
    : InjectedFault(std::move(name), [error, subject_contains](std::string_view subject) {
        return subject.contains(subject_contains) ? error : 0;
      }) {}

InjectedFault::~InjectedFault() {
  Faults& all = faults();
  const std::lock_guard lock(all.mutex);
  all.by_name.erase(name_);
  --all.count;
}

}  // namespace base

#endif

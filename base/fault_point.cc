#include "base/fault_point.h"

#ifdef ENTREPOT_CRASH_POINTS

#include <glog/logging.h>

#include <atomic>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <utility>

namespace base {
namespace {

using Function = std::function<int(std::string_view)>;

struct Fault {
  std::shared_mutex calls;  // held by those who call the function, and to end it
  Function function;        // none once it has ended
};

struct Faults {
  std::atomic<size_t> count = 0;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Fault>, std::less<>> by_name;  // guarded by mutex
};

Faults& faults() {
  static Faults all;
  return all;
}

}  // namespace

int fault_point(const char* name, const char* subject) {
  Faults& all = faults();
  if (all.count == 0) return 0;
  std::shared_ptr<Fault> fault;
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.by_name.find(std::string_view(name));
    if (found == all.by_name.end()) return 0;
    fault = found->second;
  }
  const std::shared_lock calling(fault->calls);
  return fault->function ? fault->function(subject) : 0;
}

InjectedFault::InjectedFault(std::string name, Function function) : name_(std::move(name)) {
  Faults& all = faults();
  const std::lock_guard lock(all.mutex);
  const auto fault = std::make_shared<Fault>();
  fault->function = std::move(function);
  CHECK(all.by_name.emplace(name_, fault).second) << "two faults at " << name_;
  ++all.count;
}

InjectedFault::InjectedFault(std::string name, int error, const std::string& subject_contains)
    : InjectedFault(std::move(name), [error, subject_contains](std::string_view subject) {
        return subject.contains(subject_contains) ? error : 0;
      }) {}

InjectedFault::~InjectedFault() {
  Faults& all = faults();
  std::shared_ptr<Fault> fault;
  {
    const std::lock_guard lock(all.mutex);
    const auto found = all.by_name.find(name_);
    fault = std::move(found->second);
    all.by_name.erase(found);
    --all.count;
  }
  const std::lock_guard ending(fault->calls);
  fault->function = nullptr;
}

}  // namespace base

#endif

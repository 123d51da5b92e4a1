// Named operations that a test can have fail, or wait, to show what happens then.
//
// In builds with ENTREPOT_CRASH_POINTS every arrival at a name calls the InjectedFault that has it;
// other builds compile it to nothing. Any thread.
#pragma once

#ifdef ENTREPOT_CRASH_POINTS
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#endif

namespace base {

#ifdef ENTREPOT_CRASH_POINTS

// The errno with which the operation is to fail; 0: it goes on. `subject` is what it is about, a
// path where there is one.
int fault_point(const char* name, const char* subject = "");

// For as long as it lives, and its end waits for the calls that have begun. The function is called
// by the thread that arrives, and may wait.
class InjectedFault {
 public:
  InjectedFault(std::string name, std::function<int(std::string_view subject)> function);
  // Every time, for subjects that contain the text.
  InjectedFault(std::string name, int error, const std::string& subject_contains = "");
  ~InjectedFault();
  InjectedFault(const InjectedFault&) = delete;
  InjectedFault& operator=(const InjectedFault&) = delete;

 private:
  const std::string name_;
};

#else

inline int fault_point(const char*, const char* = "") { return 0; }

#endif

}  // namespace base

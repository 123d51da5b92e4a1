// Named steps at which a test can kill the process, to show that a crash there loses nothing.
//
// In builds with ENTREPOT_CRASH_POINTS the environment variable ENTREPOT_CRASH_AT=<name>[:<n>]
// makes the n-th (default first) arrival at that name kill the process with SIGKILL; other builds
// compile it to nothing. Any thread.
#pragma once

namespace base {

#ifdef ENTREPOT_CRASH_POINTS
void crash_point(const char* name);
#else
inline void crash_point(const char*) {}
#endif

}  // namespace base

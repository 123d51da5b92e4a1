#include "base/thread_signals.h"

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace base {

void leave_signals_to_main_thread() {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
    sigdelset(&signals, fault);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace base

// Which thread takes the process's signals.
#pragma once

namespace base {

// Blocks on the calling thread every signal that another thread can take, so that the main thread's
// loop does; those that a thread raises by its own fault stay open, so that a crash is reported.
void leave_signals_to_main_thread();

}  // namespace base

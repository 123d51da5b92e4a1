// Start-up of glog: everything to stderr, in one line per message; with a journald priority prefix
// (<3> … <6>) instead of glog's own when stderr is the journal (JOURNAL_STREAM).
#pragma once

#include <string>
#include <string_view>

namespace base {

enum class LogLevel { debug, info, warning, error };

// Call once, first thing in main.
void init_logging(const char* program);
void set_log_level(LogLevel level);

// The text with control characters, non-ASCII bytes and backslashes escaped (\n, \xe9, \\), and
// "..." in place of what follows the first 256 bytes: for anything that came from a client.
std::string printable(std::string_view text);

}  // namespace base

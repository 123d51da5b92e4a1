// Start-up of glog: everything to stderr, in one line per message; with a journald priority prefix
// (<3> … <6>) instead of glog's own when stderr is the journal (JOURNAL_STREAM).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace base {

enum class LogLevel { debug, info, warning, error };

// How a message is written: as text (the default), or as a line of JSON with "time", "level",
// "msg", or with the names that Logstash expects. The fields go with every message.
struct LogFormat {
  enum class Style { text, json, logstash };
  Style style = Style::text;
  std::vector<std::pair<std::string, std::string>> fields;
};

// Call once, first thing in main.
void init_logging(const char* program);
void set_log_level(LogLevel level);
// Thread-safe.
void set_log_format(LogFormat format);

// The text as a JSON string, quotes included; what is not UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

// The text with control characters, non-ASCII bytes and backslashes escaped (\n, \xe9, \\), and
// "..." in place of what follows the first 256 bytes: for anything that came from a client.
std::string printable(std::string_view text);

}  // namespace base

#include "http/access_log.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/log.h"

namespace http {
namespace {

std::string log_time() {
  const time_t now = std::time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%d/%b/%Y:%H:%M:%S +0000", &utc);
  return text;
}

// A quoted field: what would end it early is escaped.
std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : base::printable(text)) {
    if (c == '"') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::string access_line(const AccessRecord& record) {
  const Request& request = record.request;
  const double ms = std::chrono::duration<double, std::milli>(record.duration).count();
  char duration[32];
  std::snprintf(duration, sizeof duration, "%.1f", ms);
  const std::string version = " " + std::string(version_name(request.version));

  std::string line = request.peer.address + " - - [" + log_time() + "] ";
  line += in_quotes(request.method + " " + request.target + version) + ' ';
  // 499 as nginx has it: the client left before the response was whole.
  line += std::to_string(record.complete ? record.status : 499) + ' ';
  line += std::to_string(record.body_bytes) + ' ';
  line += in_quotes(request.headers.get("User-Agent").value_or("-")) + ' ' + duration + ' ';
  line += in_quotes(record.response_headers.get("Cache-Status").value_or("-"));
  return line;
}

void log_access(const AccessRecord& record) {
  const std::string line = access_line(record) + '\n';
  // A log that cannot be written must not stop the service, and there is nowhere to say so.
  while (::write(STDOUT_FILENO, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace http

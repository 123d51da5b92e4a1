// The access log: one line per exchange on standard output.
//
//   <client> - - [24/Nov/2026:10:27:35 +0000] "GET /v2/ HTTP/1.1" 200 2 "<user agent>" <ms> <cache
//   status>
//
// Client text is escaped; Authorization never appears. Thread-safe.
#pragma once

#include <string>

#include "http/server.h"

namespace http {

std::string access_line(const AccessRecord& record);

// Writes the line to standard output in one write.
void log_access(const AccessRecord& record);

}  // namespace http

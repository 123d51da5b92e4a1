// The access log: one line per exchange on standard output, in the combined format of Apache and
// nginx with our own fields behind it, or as JSON:
//
//   <client> - <user> [24/Nov/2026:10:27:35 +0000] "GET /v2/ HTTP/1.1" 200 2 "<referer>"
//   "<user agent>" <ms> <request id> <digest> "<cache status>" <upstream ms>
//
//   {"time":…,"client":…,"user":…,"method":…,"target":…,"protocol":…,"status":…,"bytes":…,
//    "referer":…,"agent":…,"ms":…,"id":…,"digest":…,"cache":…,"upstream_ms":…}
//
// The upstream time is what the request waited for other servers before it could be answered.
// Client text is escaped; Authorization never appears, nor what signs a URL (http/signed_url.h).
// "-" (in JSON: no field) is what is not known.
//
// No request waits for the log: if whoever reads standard output stops, lines are dropped, not
// transfers (base/line_writer.h).
#pragma once

#include <cstdint>
#include <string>

#include "base/line_writer.h"
#include "http/server.h"

namespace http {

enum class AccessFormat { combined, json };

std::string access_line(const AccessRecord& record, AccessFormat format = AccessFormat::combined);

// Thread-safe; one for a program, on its standard output. Lives longer than who adds to it: its
// destructor writes what is not written yet.
class AccessLog {
 public:
  AccessLog();
  void add(const AccessRecord& record, AccessFormat format = AccessFormat::combined);
  // Lines that are lost.
  uint64_t dropped() const { return lines_.dropped(); }

 private:
  base::LineWriter lines_;
};

}  // namespace http

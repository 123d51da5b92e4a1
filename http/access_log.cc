#include "http/access_log.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/log.h"
#include "http/signed_url.h"

namespace http {
namespace {

// Made once a second (per loop thread).
std::string_view log_time(const char* format) {
  thread_local time_t made_for = 0;
  thread_local std::string text;
  const time_t now = std::time(nullptr);
  if (now != made_for) {
    tm utc{};
    gmtime_r(&now, &utc);
    char buffer[32];
    text.assign(buffer, std::strftime(buffer, sizeof buffer, format, &utc));
    made_for = now;
  }
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

// A field that ends at a space.
std::string word(std::string_view text) {
  if (text.empty()) return "-";
  std::string out = base::printable(text);
  std::ranges::replace(out, ' ', '_');
  return out;
}

std::string milliseconds(std::chrono::nanoseconds time) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", std::chrono::duration<double, std::milli>(time).count());
  return text;
}

// What the formats have in common.
struct Values {
  explicit Values(const AccessRecord& record)
      : client(record.request.client.empty() ? record.request.peer.address : record.request.client),
        protocol(version_name(record.request.version)),
        // 499 as nginx has it: the client left before the response was whole.
        status(std::to_string(record.complete ? record.status : 499)),
        bytes(std::to_string(record.body_bytes)),
        target(hide_signature(record.request.target)),
        referer(hide_signature(record.request.headers.get("Referer").value_or(""))),
        agent(record.request.headers.get("User-Agent").value_or("")),
        digest(record.response_headers.get("Docker-Content-Digest").value_or("")),
        cache(record.response_headers.get("Cache-Status").value_or("")) {
    ms = milliseconds(record.duration);
    if (record.request.upstream_wait) upstream_ms = milliseconds(*record.request.upstream_wait);
  }

  std::string_view client, protocol;
  std::string status, bytes, ms, upstream_ms, target, referer;
  std::string_view agent, digest, cache;
};

std::string_view or_dash(std::string_view text) { return text.empty() ? "-" : text; }

std::string combined(const AccessRecord& record, const Values& v) {
  const Request& request = record.request;
  std::string line(v.client);
  line.append(" - ").append(word(request.user)).append(" [");
  line.append(log_time("%d/%b/%Y:%H:%M:%S +0000")).append("] ");
  line += in_quotes(request.method + ' ' + v.target + ' ' + std::string(v.protocol));
  line.append(" ").append(v.status).append(" ").append(v.bytes).append(" ");
  line.append(in_quotes(or_dash(v.referer))).append(" ").append(in_quotes(or_dash(v.agent)));
  line.append(" ").append(v.ms).append(" ").append(word(request.id)).append(" ");
  line.append(word(v.digest)).append(" ").append(in_quotes(or_dash(v.cache)));
  line.append(" ").append(or_dash(v.upstream_ms));
  return line;
}

std::string json(const AccessRecord& record, const Values& v) {
  const Request& request = record.request;
  std::string line = "{\"time\":\"";
  line.append(log_time("%Y-%m-%dT%H:%M:%SZ")).append("\"");
  const auto text = [&line](const char* name, std::string_view value) {
    if (value.empty()) return;
    line.append(",\"").append(name).append("\":").append(base::json_string(value));
  };
  const auto number = [&line](const char* name, std::string_view value) {
    if (value.empty()) return;
    line.append(",\"").append(name).append("\":").append(value);
  };
  text("client", v.client);
  text("user", request.user);
  text("method", request.method);
  text("target", v.target);
  text("protocol", v.protocol);
  number("status", v.status);
  number("bytes", v.bytes);
  text("referer", v.referer);
  text("agent", v.agent);
  number("ms", v.ms);
  text("id", request.id);
  text("digest", v.digest);
  text("cache", v.cache);
  number("upstream_ms", v.upstream_ms);
  return line + '}';
}

}  // namespace

std::string access_line(const AccessRecord& record, AccessFormat format) {
  const Values values(record);
  return format == AccessFormat::json ? json(record, values) : combined(record, values);
}

AccessLog::AccessLog() : lines_({.fd = STDOUT_FILENO, .name = "the access log"}) {}

void AccessLog::add(const AccessRecord& record, AccessFormat format) {
  lines_.add(access_line(record, format));
}

}  // namespace http

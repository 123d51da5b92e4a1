#include "http/server_response.h"

#include <algorithm>
#include <ctime>

namespace http {

std::string_view ServerResponse::current_date() {
  thread_local std::time_t made_for = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != made_for) {
    text = http_date(now);
    made_for = now;
  }
  return text;
}

std::string ServerResponse::field_text(std::string_view text) {
  std::string safe(text);
  std::replace_if(
      safe.begin(), safe.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
  return safe;
}

bool ServerResponse::is_framing_field(std::string_view name) {
  return iequals(name, "Content-Length") || iequals(name, "Transfer-Encoding") ||
         iequals(name, "Connection") || iequals(name, "Date");
}

}  // namespace http

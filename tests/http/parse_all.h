// What the request parser makes of a whole connection's bytes.
#pragma once

#include <algorithm>
#include <string>

#include "http/body.h"
#include "http/request_parser.h"

namespace test {

// Everything a connection would get out of these bytes, given in pieces of `step`: each request as
// "METHOD path|body", "…" for one that is not complete, or the status it is refused with.
inline std::string parse_all(const std::string& bytes, size_t step) {
  constexpr size_t kMaxHeader = 1024;
  http::RequestParser parser(kMaxHeader);
  std::string outcome;
  std::string buffer;
  size_t given = 0;
  bool in_body = false;
  http::Request request;
  std::string body;
  try {
    while (true) {
      bool progress = false;
      if (!in_body) {
        request = {};
        const size_t length = parser.parse_head(buffer, request);
        if (length > 0) {
          buffer.erase(0, length);
          in_body = true;
          body.clear();
          progress = true;
        }
      }
      while (in_body && !parser.done()) {
        const http::RequestParser::BodyPart part = parser.parse_body(buffer);
        if (part.consumed == 0) break;
        body += part.data;
        buffer.erase(0, part.consumed);
        progress = true;
      }
      if (in_body && parser.done()) {
        if (!outcome.empty()) outcome += ' ';
        outcome += request.method + " " + request.path + "|" + body;
        parser.reset();
        in_body = false;
        continue;
      }
      if (progress) continue;
      if (given == bytes.size()) break;
      const size_t n = std::min(step, bytes.size() - given);
      buffer.append(bytes, given, n);
      given += n;
    }
  } catch (const http::StatusError& e) {
    if (!outcome.empty()) outcome += ' ';
    return outcome + std::to_string(e.status());
  }
  if (in_body || !buffer.empty()) {
    if (!outcome.empty()) outcome += ' ';
    outcome += "…";
  }
  return outcome;
}

}  // namespace test

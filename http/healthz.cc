#include "http/healthz.h"

namespace http {

Response healthz(const Request& request, std::string_view reason) {
  Response answer;
  answer.headers.set("Content-Type", "text/plain");
  answer.headers.set("Cache-Control", "no-store");
  if (!request.is("GET") && !request.is("HEAD")) {
    answer.status = 405;
    answer.headers.set("Allow", "GET, HEAD");
    return answer;
  }
  if (!reason.empty()) answer.status = 503;
  answer.body = reason.empty() ? "ok" : reason;
  answer.body += '\n';
  return answer;
}

}  // namespace http

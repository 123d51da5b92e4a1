#include "proxy/answer.h"

#include <utility>

#include "http/signed_url.h"

namespace proxy {

http::Response error_response(const std::string& name, int status, std::string json) {
  http::Response response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.headers.set("Cache-Control", "no-store");
  response.headers.set("Via", "1.1 " + name);
  response.body = std::move(json);
  return response;
}

http::Headers content_fields(const std::string& name, const http::Request& request,
                             const std::string& cache_status) {
  http::Headers fields;
  fields.set("Cache-Status", name + "; " + cache_status);
  fields.set("Via", "1.1 " + name);
  if (const auto ns = request.query_value("ns")) fields.set("OCI-Namespace", *ns);
  return fields;
}

std::string cache_control(const http::Request& request, bool immutable) {
  const bool shared = !http::has_signature(request);
  if (immutable)
    return std::string(shared ? "public" : "private") + ", max-age=31536000, immutable";
  return shared ? "no-cache" : "private, no-cache";
}

}  // namespace proxy

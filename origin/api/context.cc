#include "origin/api/context.h"

#include "http/forwarded.h"

namespace origin::api {
namespace {

// Seconds. What is busy or overloaded is so for as long as a request takes.
constexpr std::string_view kRetryAfter = "5";

}  // namespace

http::Headers Context::headers() const {
  http::Headers headers;
  headers.add("Docker-Distribution-Api-Version", "registry/2.0");
  for (const auto& field : config.headers) headers.add(field.name, field.value);
  return headers;
}

http::Response Context::response(int status) const {
  return {.status = status, .headers = headers(), .body = ""};
}

http::ContentInfo Context::content(uint64_t size, const oci::Digest& digest,
                                   std::string_view type) const {
  http::ContentInfo info{size, '"' + digest.str() + '"', headers(), headers()};
  info.headers.set("Content-Type", type);
  info.headers.set("Docker-Content-Digest", digest.str());
  info.unsatisfiable.set("Cache-Control", "no-store");
  return info;
}

http::Response Context::json(std::string body) const {
  http::Response answer = response(200);
  answer.headers.set("Content-Type", "application/json");
  answer.body = std::move(body);
  return answer;
}

http::Response Context::error(const oci::Error& error) const {
  return this->error(error.status(), error);
}

http::Response Context::error(int status, const oci::Error& error) const {
  http::Response answer = json(error.json());
  answer.status = status;
  answer.headers.set("Cache-Control", "no-store");
  if (status == 503) answer.headers.set("Retry-After", kRetryAfter);
  return answer;
}

std::string Context::location(const http::Request& request, std::string_view path) const {
  if (config.relative_urls) return public_path(path);
  return (config.host.empty() ? public_base(request) : config.host) + public_path(path);
}

oci::Digest require_digest(std::string_view text) {
  const auto digest = oci::Digest::parse(text);
  if (!digest) throw oci::Error(oci::ErrorCode::digest_invalid, "digest parsing failed");
  return *digest;
}

std::string blob_path(const std::string& repository, const oci::Digest& digest) {
  return "/v2/" + repository + "/blobs/" + digest.str();
}

std::string manifest_path(const std::string& repository, const oci::Digest& digest) {
  return "/v2/" + repository + "/manifests/" + digest.str();
}

}  // namespace origin::api

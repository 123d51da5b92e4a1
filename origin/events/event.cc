#include "origin/events/event.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/uuid.h"

namespace origin {
namespace {

using Json = nlohmann::ordered_json;

void add(Json& json, const char* key, std::string_view value) {
  if (!value.empty()) json[key] = value;
}

Json reference_json(const oci::Descriptor& descriptor) {
  Json json;
  add(json, "mediaType", descriptor.media_type);
  json["size"] = descriptor.size;
  json["digest"] = descriptor.digest.str();
  return json;
}

Json target_json(const EventTarget& target) {
  Json json;
  add(json, "mediaType", target.media_type);
  if (target.size) json["size"] = *target.size;
  add(json, "digest", target.digest);
  // The same again, by its older name.
  if (target.size) json["length"] = *target.size;
  add(json, "repository", target.repository);
  add(json, "fromRepository", target.from_repository);
  add(json, "url", target.url);
  add(json, "tag", target.tag);
  for (const oci::Descriptor& reference : target.references) {
    json["references"].push_back(reference_json(reference));
  }
  return json;
}

Json request_json(const http::Request& request, const std::string& client) {
  Json json;
  add(json, "id", request.id);
  add(json, "addr", client);
  add(json, "host", request.headers.get("Host").value_or(""));
  add(json, "method", request.method);
  add(json, "useragent", request.headers.get("User-Agent").value_or(""));
  return json;
}

// RFC 3339, in UTC, with nanoseconds.
std::string timestamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  ::gmtime_r(&now.tv_sec, &utc);
  std::array<char, 64> text{};
  const size_t seconds = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text.data() + seconds, text.size() - seconds, ".%09ldZ", now.tv_nsec);
  return text.data();
}

}  // namespace

std::string event_envelope(const Event& event, const http::Request& request,
                           const std::string& client, const EventSource& source) {
  Json json;
  json["id"] = base::random_uuid();
  json["timestamp"] = timestamp();
  json["action"] = event.action;
  json["target"] = target_json(event.target);
  json["request"] = request_json(request, client);
  json["actor"] = Json::object();
  add(json["actor"], "name", request.user);
  json["source"] = {{"addr", source.address}, {"instanceID", source.instance_id}};
  const Json envelope = {{"events", Json::array({std::move(json)})}};
  // What a client sent need not be UTF-8.
  return envelope.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace origin

// Event: something that happened in the registry, in the form in which Distribution tells it to
// whoever listens ("Work with notifications" of its documentation). Values; no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "http/message.h"
#include "oci/manifest.h"

namespace origin {

// Where the events come from: this process.
struct EventSource {
  std::string address;      // host:port
  std::string instance_id;  // a UUID
};

// What is empty is left out.
struct EventTarget {
  std::string media_type;
  std::optional<uint64_t> size;
  std::string digest;
  std::string repository;
  std::string from_repository;  // of a mount
  std::string url;
  std::string tag;
  std::vector<oci::Descriptor> references;
};

struct Event {
  std::string action;  // push, pull, mount, delete
  EventTarget target;
};

inline constexpr char kEventsMediaType[] = "application/vnd.docker.distribution.events.v1+json";

// The body that announces this event: an envelope with nothing else in it, one line of JSON. The
// event gets a new id and the present time. `client` is the client's address.
std::string event_envelope(const Event& event, const http::Request& request,
                           const std::string& client, const EventSource& source);

}  // namespace origin

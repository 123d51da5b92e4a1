// Registry events: what a registry tells about its content, in Distribution's envelope ("Work with
// notifications" of its documentation; the media types …events.v1+json and v2). Pure.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"

namespace proxy {

// Something that was pushed, mounted or deleted.
struct RegistryEvent {
  enum class Action { push, remove };
  Action action = Action::push;
  std::string repository;
  // What a push put there. Of a delete one of the two: a manifest or blob, or a tag; or neither, if
  // the whole repository is gone.
  std::optional<oci::Digest> digest;
  std::string tag;        // also of a push by tag
  bool manifest = false;  // the digest is a manifest's; not told of a delete

  bool operator==(const RegistryEvent&) const = default;
};

struct RegistryEvents {
  std::vector<RegistryEvent> events;
  // Pulls, and what names nothing that could be here. They are no error: who sends events repeats
  // what is refused, for ever, and what comes after it waits.
  size_t ignored = 0;
};

// The error is a sentence for the sender: not JSON, or no envelope.
std::expected<RegistryEvents, std::string> parse_registry_events(std::string_view body);

}  // namespace proxy

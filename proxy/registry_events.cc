#include "proxy/registry_events.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

#include "oci/manifest.h"
#include "oci/name.h"

namespace proxy {
namespace {

namespace dom = simdjson::dom;

constexpr auto kManifestTypes = std::to_array<std::string_view>(
    {oci::media_type::kOciManifest, oci::media_type::kOciIndex, oci::media_type::kDockerManifest,
     oci::media_type::kDockerList, oci::media_type::kOciArtifact});

// The field, or empty if it is not there or no text.
std::string_view text(const dom::object& object, std::string_view name) {
  std::string_view value;
  return object[name].get(value) == simdjson::SUCCESS ? value : std::string_view();
}

std::optional<RegistryEvent::Action> action(std::string_view name) {
  // A mount puts a blob into a repository as a push does.
  if (name == "push" || name == "mount") return RegistryEvent::Action::push;
  if (name == "delete") return RegistryEvent::Action::remove;
  return std::nullopt;
}

std::optional<RegistryEvent> parse_event(const dom::element& element) {
  dom::object object;
  dom::object target;
  if (element.get(object) != simdjson::SUCCESS) return std::nullopt;
  if (object["target"].get(target) != simdjson::SUCCESS) return std::nullopt;
  const auto what = action(text(object, "action"));
  const std::string_view digest = text(target, "digest");
  RegistryEvent event{.repository = std::string(text(target, "repository")),
                      .digest = oci::Digest::parse(digest),
                      .tag = std::string(text(target, "tag"))};
  if (!what || !oci::valid_repository(event.repository)) return std::nullopt;
  if (!event.tag.empty() && !oci::valid_tag(event.tag)) return std::nullopt;
  // An algorithm that is not known here: nothing of it can be here, and it is no whole repository.
  if (!event.digest && !digest.empty()) return std::nullopt;
  event.action = *what;
  if (event.action == RegistryEvent::Action::push) {
    if (!event.digest) return std::nullopt;
    event.manifest =
        text(target, "url").contains("/manifests/") ||
        std::ranges::find(kManifestTypes, text(target, "mediaType")) != kManifestTypes.end();
  }
  return event;
}

}  // namespace

std::expected<RegistryEvents, std::string> parse_registry_events(std::string_view body) {
  dom::parser parser;
  dom::element root;
  if (const auto error = parser.parse(body.data(), body.size()).get(root)) {
    return std::unexpected(std::string("the body is not JSON: ") + simdjson::error_message(error));
  }
  dom::array list;
  if (root["events"].get(list) != simdjson::SUCCESS) {
    return std::unexpected("the body is no envelope: it has no array \"events\"");
  }
  RegistryEvents parsed;
  for (const dom::element element : list) {
    if (auto event = parse_event(element)) {
      parsed.events.push_back(std::move(*event));
    } else {
      ++parsed.ignored;
    }
  }
  return parsed;
}

}  // namespace proxy

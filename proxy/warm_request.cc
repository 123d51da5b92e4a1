#include "proxy/warm_request.h"

#include <algorithm>

#include "http/body.h"
#include "proxy/json_member.h"

namespace proxy {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw http::StatusError(400, why); }

// As Docker tells a registry from the first component of a repository.
bool names_registry(std::string_view component) {
  return component == "localhost" || component.find_first_of(".:") != std::string_view::npos;
}

bool is_registry(const UpstreamConfig& upstream, const std::string& registry) {
  const auto is = [&](const std::string& name) { return http::iequals(name, registry); };
  return is(upstream.name) || std::ranges::any_of(upstream.namespaces, is) ||
         std::ranges::any_of(upstream.hosts, is) ||
         std::ranges::any_of(upstream.urls, [&](const std::string& url) {
           return is(url.substr(url.find("://") + 3));
         });
}

// Where the tag of an image begins: a colon before a slash is a port's.
size_t tag_colon(const std::string& image) {
  const size_t colon = image.rfind(':');
  const size_t slash = image.rfind('/');
  const bool port = slash != std::string::npos && colon != std::string::npos && colon < slash;
  return port ? std::string::npos : colon;
}

// Takes off what begins at the separator, and returns what follows it.
std::optional<std::string> cut(std::string& text, size_t separator) {
  if (separator == std::string::npos) return std::nullopt;
  std::string rest = text.substr(separator + 1);
  text.resize(separator);
  return rest;
}

Routing::Destination find(const Routing& routing, const std::string& repository) {
  const size_t slash = repository.find('/');
  const std::string first = repository.substr(0, slash);
  if (slash != std::string::npos && names_registry(first)) {
    for (const std::shared_ptr<Upstream>& upstream : routing.upstreams()) {
      if (is_registry(upstream->config(), first)) return {upstream, repository.substr(slash + 1)};
    }
    refuse("no upstream is the registry " + first);
  }
  std::optional<Routing::Destination> found = routing.find({}, repository);
  if (found) return std::move(*found);
  if (routing.upstreams().size() == 1) return {routing.upstreams().front(), repository};
  refuse("of which upstream? " + repository + " names no registry");
}

}  // namespace

Routing::Destination find_repository(const Routing& routing, const std::string& repository,
                                     const std::string& upstream) {
  Routing::Destination to =
      upstream.empty() ? find(routing, repository)
                       : Routing::Destination{upstream_named(routing, upstream), repository};
  if (!oci::valid_repository(to.repository)) refuse("not the name of a repository: " + repository);
  return to;
}

std::shared_ptr<Upstream> upstream_named(const Routing& routing, const std::string& name) {
  const auto& upstreams = routing.upstreams();
  if (name.empty()) {
    if (upstreams.size() == 1) return upstreams.front();
    refuse("which upstream is meant? There are several");
  }
  const auto found = std::ranges::find(upstreams, name, &Upstream::name);
  if (found == upstreams.end()) refuse("there is no upstream of this name");
  return *found;
}

WarmRequest parse_warm_request(const json& json, const Routing& routing) {
  std::string image = text_member(json, "image");
  WarmRequest request;
  std::optional<std::string> reference = cut(image, image.find('@'));
  std::optional<std::string> tag = cut(image, tag_colon(image));
  // A digest says it all: "app:1@sha256:…" is what "app@sha256:…" is.
  if (!reference) reference = std::move(tag);

  const auto all = json.find("all_tags");
  const bool all_tags = all != json.end() && *all == true;
  if (all_tags && reference) refuse("all tags of a repository, or one: not both");
  if (!all_tags) {
    request.reference = oci::parse_reference(reference.value_or("latest"));
    if (!request.reference) refuse("not a tag or digest: " + *reference);
  }

  const Routing::Destination to = find_repository(routing, image, text_member(json, "upstream"));
  request.upstream = to.upstream;
  request.repository = to.repository;

  const auto platforms = json.find("platforms");
  if (platforms == json.end()) return request;
  for (const auto& each : *platforms) {
    const auto platform =
        each.is_string() ? oci::parse_platform(each.get<std::string>()) : std::nullopt;
    if (!platform) refuse("\"platforms\" must be a list of <os>/<architecture>[/<variant>]");
    request.platforms.push_back(*platform);
  }
  return request;
}

}  // namespace proxy

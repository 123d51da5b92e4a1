#include "proxy/known_names.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <variant>

#include "oci/manifest.h"
#include "oci/name.h"

namespace proxy {
namespace {

// As DocumentName::key() puts it together; an upstream's name may have spaces.
struct Key {
  std::string_view upstream;
  std::string_view target;
  oci::Route route;  // of the target, which DocumentName::target() made
};

std::optional<Key> split(std::string_view key) {
  const size_t space = key.rfind(" /v2/");
  if (space == std::string_view::npos) return std::nullopt;
  const std::string_view target = key.substr(space + 1);
  return Key{key.substr(0, space), target, oci::parse_route(target.substr(0, target.find('?')))};
}

std::string repository_of(const oci::Route& route) {
  if (const auto* manifest = std::get_if<oci::ManifestRoute>(&route)) return manifest->repository;
  if (const auto* tags = std::get_if<oci::TagsRoute>(&route)) return tags->repository;
  if (const auto* list = std::get_if<oci::ReferrersRoute>(&route)) return list->repository;
  return "";
}

}  // namespace

cache::NameFacts facts_of(std::string_view key) {
  const std::optional<Key> parts = split(key);
  if (!parts) return {};
  cache::NameFacts facts;
  facts.repository = std::string(parts->upstream) + ' ' + repository_of(parts->route);
  if (const auto* manifest = std::get_if<oci::ManifestRoute>(&parts->route)) {
    const bool digest = oci::Digest::parse(manifest->reference).has_value();
    facts.kind = digest ? cache::NameFacts::Kind::digest : cache::NameFacts::Kind::tag;
  }
  return facts;
}

std::vector<KnownName> known_names(const cache::References& references) {
  std::vector<KnownName> names;
  references.for_each([&](std::string_view key, const cache::Reference& reference) {
    const std::optional<Key> parts = split(key);
    if (!parts) return;
    names.push_back({.key = std::string(key),
                     .upstream = std::string(parts->upstream),
                     .repository = repository_of(parts->route),
                     .target = std::string(parts->target),
                     .digest = reference.digest});
  });
  return names;
}

std::vector<oci::Digest> referred_by(const cache::BlobStore& store, const oci::Digest& manifest) {
  const auto bytes = store.read(manifest, oci::kMaxManifestSize);
  if (!bytes) return {};
  const auto parsed = oci::parse_manifest(*bytes, "");
  if (!parsed) return {};
  std::vector<oci::Digest> referred;
  if (parsed->config) referred.push_back(parsed->config->digest);
  for (const oci::Descriptor& blob : parsed->blobs) referred.push_back(blob.digest);
  for (const oci::Descriptor& child : parsed->manifests) referred.push_back(child.digest);
  return referred;
}

std::vector<KnownName> names_leading_to(const Store::Held& held, const oci::Digest& digest,
                                        size_t most) {
  std::vector<KnownName> names = known_names(*held.references);
  std::map<oci::Digest, std::vector<oci::Digest>> referred;
  for (const KnownName& name : names) {
    if (!referred.contains(name.digest))
      referred[name.digest] = referred_by(*held.blobs, name.digest);
  }
  // Of an image index, a manifest, a layer, each leads to the next.
  std::set<oci::Digest> leading{digest};
  for (bool found = true; found;) {
    found = false;
    for (const auto& [manifest, blobs] : referred) {
      const bool leads = std::ranges::any_of(
          blobs, [&](const oci::Digest& blob) { return leading.contains(blob); });
      if (leads && leading.insert(manifest).second) found = true;
    }
  }
  std::erase_if(names, [&](const KnownName& name) { return !leading.contains(name.digest); });
  std::ranges::sort(names, {}, &KnownName::key);
  if (names.size() > most)
    names.erase(names.begin() + static_cast<std::ptrdiff_t>(most), names.end());
  return names;
}

}  // namespace proxy

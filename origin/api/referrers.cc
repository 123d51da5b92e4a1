#include "origin/api/referrers.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "oci/manifest.h"
#include "origin/storage/files.h"

namespace origin::api {
namespace {

// The tag under which clients keep an index of the referrers where a registry has no such endpoint
// (distribution-spec "Referrers Tag Schema").
std::string fallback_tag(const oci::Digest& subject) {
  return std::string(oci::algorithm_name(subject.algorithm())) + "-" + subject.hex().substr(0, 64);
}

// Those that were pushed here, and those that a client has listed in the fallback tag.
std::set<oci::Digest> candidates(const Storage& storage, const std::string& repository,
                                 const oci::Digest& subject) {
  std::set<oci::Digest> digests;
  for (const oci::Digest& digest : storage.manifests.referrers(repository, subject)) {
    digests.insert(digest);
  }
  const auto bytes = one_of_many([&] {
    const auto tagged = storage.tags.get(repository, fallback_tag(subject));
    return tagged ? storage.manifests.get(repository, *tagged) : std::nullopt;
  });
  const auto index = oci::parse_manifest(bytes.value_or(""), "");
  if (!index) return digests;
  for (const oci::Descriptor& child : index->manifests) digests.insert(child.digest);
  return digests;
}

nlohmann::ordered_json descriptor(const oci::Digest& digest, uint64_t size,
                                  const oci::Manifest& manifest) {
  nlohmann::ordered_json json;
  json["mediaType"] = manifest.media_type;
  json["digest"] = digest.str();
  json["size"] = size;
  if (!manifest.artifact_type.empty()) json["artifactType"] = manifest.artifact_type;
  if (!manifest.annotations.empty()) {
    json["annotations"] = nlohmann::ordered_json::parse(manifest.annotations);
  }
  return json;
}

// Pool. The index of the referrers whose type is among `types`, or of all if that is empty.
std::string referrers_index(const Storage& storage, const std::string& repository,
                            const oci::Digest& subject, const std::vector<std::string>& types) {
  nlohmann::ordered_json index;
  index["schemaVersion"] = 2;
  index["mediaType"] = oci::media_type::kOciIndex;
  index["manifests"] = nlohmann::ordered_json::array();
  for (const oci::Digest& digest : candidates(storage, repository, subject)) {
    const auto bytes = one_of_many([&] { return storage.manifests.get(repository, digest); });
    if (!bytes) continue;
    const auto manifest = oci::parse_manifest(*bytes, "");
    if (!manifest || !manifest->subject || manifest->subject->digest != subject) continue;
    const bool wanted =
        types.empty() || std::ranges::find(types, manifest->artifact_type) != types.end();
    if (wanted) index["manifests"].push_back(descriptor(digest, bytes->size(), *manifest));
  }
  return index.dump();
}

}  // namespace

base::Task<void> referrers(const Context& context, http::Exchange& exchange,
                           const oci::ReferrersRoute& route) {
  const oci::Digest subject = require_digest(route.digest);
  const std::vector<std::string> types = exchange.request.query_values("artifactType");
  std::string body = co_await context.pool.run(
      [&] { return referrers_index(context.storage, route.repository, subject, types); });
  http::Response answer = context.json(std::move(body));
  answer.headers.set("Content-Type", oci::media_type::kOciIndex);
  if (!types.empty()) answer.headers.set("OCI-Filters-Applied", "artifactType");
  co_await exchange.response.send(std::move(answer));
}

}  // namespace origin::api

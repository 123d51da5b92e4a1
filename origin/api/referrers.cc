#include "origin/api/referrers.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "oci/manifest.h"
#include "origin/api/pagination.h"
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

// As much as clients, and the edge, take for a manifest: only an entry that is larger by itself
// makes a page larger.
constexpr size_t kMaxPage = oci::kMaxManifestSize;

struct ReferrersPage {
  std::string index;
  std::optional<oci::Digest> last;  // if there is a page after this one
};

// Pool. The index of the referrers whose type is among `types`, or of all if that is empty: of
// those after `after`, as many as fit.
ReferrersPage referrers_page(const Storage& storage, const std::string& repository,
                             const oci::Digest& subject, const std::vector<std::string>& types,
                             const std::optional<oci::Digest>& after) {
  constexpr std::string_view kEnd = "]}";
  ReferrersPage page;
  page.index = R"({"schemaVersion":2,"mediaType":")";
  page.index.append(oci::media_type::kOciIndex).append(R"(","manifests":[)");
  std::optional<oci::Digest> last;
  const std::set<oci::Digest> digests = candidates(storage, repository, subject);
  for (auto it = after ? digests.upper_bound(*after) : digests.begin(); it != digests.end(); ++it) {
    const auto bytes = one_of_many([&] { return storage.manifests.get(repository, *it); });
    if (!bytes) continue;
    const auto manifest = oci::parse_manifest(*bytes, "");
    if (!manifest || !manifest->subject || manifest->subject->digest != subject) continue;
    const bool wanted =
        types.empty() || std::ranges::find(types, manifest->artifact_type) != types.end();
    if (!wanted) continue;
    const std::string entry = descriptor(*it, bytes->size(), *manifest).dump();
    if (last && page.index.size() + 1 + entry.size() + kEnd.size() > kMaxPage) {
      page.last = last;
      break;
    }
    if (last) page.index += ',';
    page.index += entry;
    last = *it;
  }
  page.index += kEnd;
  return page;
}

}  // namespace

base::Task<void> referrers(const Context& context, http::Exchange& exchange,
                           const oci::ReferrersRoute& route) {
  const oci::Digest subject = require_digest(route.digest);
  const std::vector<std::string> types = exchange.request.query_values("artifactType");
  const std::string last = exchange.request.query_value("last").value_or("");
  std::optional<oci::Digest> after;
  if (!last.empty()) after = require_digest(last);
  ReferrersPage page = co_await context.list_pool.run(
      [&] { return referrers_page(context.storage, route.repository, subject, types, after); });

  http::Response answer = context.json(std::move(page.index));
  answer.headers.set("Content-Type", oci::media_type::kOciIndex);
  if (!types.empty()) answer.headers.set("OCI-Filters-Applied", "artifactType");
  if (page.last) {
    std::string filters;
    for (const std::string& type : types) filters += "&artifactType=" + http::percent_encode(type);
    link_next(context.public_path("/v2/" + route.repository + "/referrers/" + route.digest),
              page.last->str(), filters, answer);
  }
  co_await exchange.response.send(std::move(answer));
}

}  // namespace origin::api

#include "proxy/document.h"

#include <simdjson.h>

#include <algorithm>

#include "oci/manifest.h"

namespace proxy {
namespace {

namespace dom = simdjson::dom;

// Longer fields of an upstream's answer are not remembered.
constexpr size_t kMaxField = 1024;

constexpr std::string_view kOctets = "application/octet-stream";

// All that a registry may have stored, so that none converts what it has (Distribution 2 makes an
// image of an index for clients that do not accept indexes).
std::string accepted(DocumentName::Kind kind) {
  using namespace oci::media_type;
  if (kind == DocumentName::Kind::tags) return "application/json";
  if (kind == DocumentName::Kind::referrers) return std::string(kOciIndex);
  std::string types;
  for (const std::string_view type : {kOciIndex, kDockerList, kOciManifest, kDockerManifest}) {
    types.append(type).append(", ");
  }
  return types.append(kOciArtifact);
}

Ending unusable(const Answer& answer, const std::string& why) {
  return {Outcome::unreachable, answer.url + ": " + why, ""};
}

Ending refusal(const Answer& answer) {
  Ending ending = unusable(answer, "status " + std::to_string(answer.status));
  if (answer.status == 404 || answer.status == 410) ending.outcome = Outcome::absent;
  if (answer.status == 401 || answer.status == 403) ending.outcome = Outcome::refused;
  return ending;
}

std::string_view media_type_of(const http::Headers& headers) {
  const std::string_view field = headers.get("Content-Type").value_or("");
  return http::trim(field.substr(0, field.find(';')));
}

// Why a 200 cannot be any document, or empty.
std::string no_document(const Answer& answer) {
  const auto coding = answer.headers.get("Content-Encoding");
  if (coding && !http::iequals(*coding, "identity")) {
    return "Content-Encoding " + std::string(*coding) + " was not asked for";
  }
  if (http::iequals(media_type_of(answer.headers), "text/html")) return "a web page came";
  if (answer.body.empty()) return "an empty body came";
  return "";
}

// The query of the page that a Link field calls the next (RFC 8288).
std::string next_page(const http::Headers& headers) {
  const std::string field = headers.joined("Link");
  const size_t end = field.find('>');
  if (!field.starts_with('<') || end == std::string::npos) return "";
  const std::string_view parameters = std::string_view(field).substr(end);
  if (parameters.find("rel=\"next\"") == parameters.npos &&
      parameters.find("rel=next") == parameters.npos) {
    return "";
  }
  const std::string_view url = std::string_view(field).substr(1, end - 1);
  const size_t mark = url.find('?');
  if (mark == std::string_view::npos) return "";
  const std::string_view query = url.substr(mark + 1);
  const bool plain = std::ranges::all_of(
      query, [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '<' && c != '#'; });
  return plain ? std::string(query) : "";
}

cache::Reference reference_to(const Answer& answer, const oci::Digest& digest,
                              std::string media_type) {
  cache::Reference reference{digest, std::move(media_type), 0, {}};
  const auto remember = [&reference](std::string_view name, std::string_view value) {
    if (!value.empty() && value.size() <= kMaxField) reference.fields.emplace_back(name, value);
  };
  for (const std::string_view name : {kETag, kLastModified, kFiltersApplied}) {
    remember(name, answer.headers.get(name).value_or(""));
  }
  remember(kNextPage, next_page(answer.headers));
  return reference;
}

using Judged = std::variant<Fetched, Unchanged, Ending>;

// The digest is the one that was asked for, or else the one that the answer names, so that a
// manifest which was damaged on its way is no new meaning of its tag.
Judged judge_manifest(const DocumentName& name, Answer answer) {
  std::optional<oci::Digest> expected = name.digest();
  if (!expected) {
    expected = oci::Digest::parse(answer.headers.get("Docker-Content-Digest").value_or(""));
  }
  const oci::Digest found =
      oci::Digest::of(expected ? expected->algorithm() : oci::Algorithm::sha256, answer.body);
  if (expected && found != *expected) {
    return Ending{Outcome::digest_mismatch,
                  answer.url + ": the manifest should have digest " + expected->str() +
                      " and has " + found.str(),
                  ""};
  }
  std::string type = oci::stored_media_type(answer.body);
  if (type == kOctets && !name.digest()) return unusable(answer, "what came is no manifest");
  if (type == kOctets) type = media_type_of(answer.headers);
  if (type.empty()) type = kOctets;
  cache::Reference reference = reference_to(answer, found, std::move(type));
  return Fetched{std::move(reference), std::make_shared<const std::string>(std::move(answer.body))};
}

// Kept is the array of the tags alone: around it comes the name that the client knows.
Judged judge_tags(const Answer& answer) {
  dom::parser parser;
  dom::element list;
  dom::element tags;
  std::string array = "[]";
  const auto error = parser.parse(answer.body).get(list);
  if (error != simdjson::SUCCESS || list["tags"].get(tags) != simdjson::SUCCESS) {
    return unusable(answer, "what came is no list of tags");
  }
  if (!tags.is_null()) {
    dom::array elements;
    if (tags.get(elements) != simdjson::SUCCESS ||
        !std::ranges::all_of(elements, [](dom::element each) { return each.is_string(); })) {
      return unusable(answer, "what came is no list of tags");
    }
    array = simdjson::minify(elements);
  }
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, array);
  return Fetched{reference_to(answer, digest, "application/json"),
                 std::make_shared<const std::string>(std::move(array))};
}

bool is_index(const Answer& answer) {
  if (answer.status != 200 || !no_document(answer).empty()) return false;
  const auto index = oci::parse_manifest(answer.body, "");
  return index && index->media_type == oci::media_type::kOciIndex;
}

Judged judge_referrers(Answer answer) {
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, answer.body);
  cache::Reference reference =
      reference_to(answer, digest, std::string(oci::media_type::kOciIndex));
  return Fetched{std::move(reference), std::make_shared<const std::string>(std::move(answer.body))};
}

Judged judge(const DocumentName& name, Answer answer) {
  switch (name.kind) {
    case DocumentName::Kind::tags:
      return judge_tags(answer);
    case DocumentName::Kind::referrers:
      return judge_referrers(std::move(answer));
    case DocumentName::Kind::manifest:
      break;
  }
  return judge_manifest(name, std::move(answer));
}

http::Headers question(const DocumentName& name) {
  http::Headers headers;
  headers.set("Accept", accepted(name.kind));
  if (!name.cdn_loop.empty()) headers.set("CDN-Loop", name.cdn_loop);
  return headers;
}

// The same if all we want to know is whether it is still what we have.
http::Headers question(const DocumentName& name, const std::optional<cache::Reference>& known) {
  http::Headers headers = question(name);
  if (!known) return headers;
  const std::string_view etag = field_of(*known, kETag);
  const std::string_view date = field_of(*known, kLastModified);
  if (!etag.empty()) {
    headers.set("If-None-Match", etag);
  } else if (!date.empty()) {
    headers.set("If-Modified-Since", date);
  }
  return headers;
}

// The upstream does not know of referrers: clients keep them under a tag then, or nobody does
// (distribution-spec "Referrers Tag Schema"; only the first 64 digits fit).
base::Task<Judged> fetch_tagged_referrers(UpstreamClient& client, base::ThreadPool& pool,
                                          DocumentName name) {
  const auto subject = oci::Digest::parse(name.reference);
  const std::string tag =
      std::string(oci::algorithm_name(subject->algorithm())) + "-" + subject->hex().substr(0, 64);
  std::variant<Answer, Ending> asked = co_await client.fetch(
      "GET", "/v2/" + name.repository + "/manifests/" + tag, question(name), kMaxDocument);
  if (auto* ending = std::get_if<Ending>(&asked)) co_return std::move(*ending);
  Answer answer = std::get<Answer>(std::move(asked));
  const bool listed = co_await pool.run([&] { return is_index(answer); });
  if (!listed) {
    answer.body = R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",)"
                  R"("manifests":[]})";
  }
  // Its ETag and its filters are those of another resource.
  answer.headers = {};
  co_return co_await pool.run([&] { return judge_referrers(std::move(answer)); });
}

}  // namespace

DocumentName DocumentName::manifest(std::shared_ptr<Upstream> upstream, std::string repository,
                                    const oci::Reference& reference) {
  return {Kind::manifest,
          std::move(upstream),
          std::move(repository),
          oci::to_string(reference),
          "",
          ""};
}

DocumentName DocumentName::tags(std::shared_ptr<Upstream> upstream, std::string repository,
                                std::string query) {
  return {Kind::tags, std::move(upstream), std::move(repository), "", std::move(query), ""};
}

DocumentName DocumentName::referrers(std::shared_ptr<Upstream> upstream, std::string repository,
                                     const oci::Digest& subject, std::string query) {
  return {Kind::referrers, std::move(upstream), std::move(repository),
          subject.str(),   std::move(query),    ""};
}

std::optional<oci::Digest> DocumentName::digest() const {
  if (kind != Kind::manifest) return std::nullopt;
  return oci::Digest::parse(reference);
}

std::optional<DocumentName> DocumentName::under_digest(const oci::Digest& manifest_digest) const {
  if (kind != Kind::manifest || digest()) return std::nullopt;
  return manifest(upstream, repository, manifest_digest);
}

std::string DocumentName::target() const {
  std::string out = "/v2/" + repository;
  switch (kind) {
    case Kind::manifest:
      out += "/manifests/" + reference;
      break;
    case Kind::tags:
      out += "/tags/list";
      break;
    case Kind::referrers:
      out += "/referrers/" + reference;
      break;
  }
  if (!query.empty()) out += "?" + query;
  return out;
}

bool DocumentName::worth_remembering() const {
  std::string_view rest = query;
  while (!rest.empty()) {
    const std::string_view parameter = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), parameter.size() + 1));
    const std::string_view field = parameter.substr(0, parameter.find('='));
    const bool known = kind == Kind::tags        ? field == "n" || field == "last"
                       : kind == Kind::referrers ? field == "artifactType" || field == "last"
                                                 : false;
    if (!known) return false;
  }
  return true;
}

std::string_view field_of(const cache::Reference& reference, std::string_view name) {
  const auto found = std::ranges::find(
      reference.fields, name, [](const auto& field) -> std::string_view { return field.first; });
  return found == reference.fields.end() ? std::string_view() : found->second;
}

base::Task<std::variant<Fetched, Unchanged, Ending>> fetch_document(
    UpstreamClient& client, base::ThreadPool& pool, DocumentName name,
    std::optional<cache::Reference> known) {
  std::variant<Answer, Ending> asked =
      co_await client.fetch("GET", name.target(), question(name, known), kMaxDocument);
  if (auto* ending = std::get_if<Ending>(&asked)) co_return std::move(*ending);
  Answer answer = std::get<Answer>(std::move(asked));

  if (answer.status == 304 && known) co_return Unchanged{};
  const bool denied = answer.status == 401 || answer.status == 403;
  if (name.kind == DocumentName::Kind::referrers && !denied) {
    const bool listed = co_await pool.run([&] { return is_index(answer); });
    if (!listed) co_return co_await fetch_tagged_referrers(client, pool, std::move(name));
  }
  if (answer.status != 200) co_return refusal(answer);
  if (const std::string why = no_document(answer); !why.empty()) co_return unusable(answer, why);
  co_return co_await pool.run([&] { return judge(name, std::move(answer)); });
}

base::Task<std::variant<std::optional<oci::Digest>, Ending>> fetch_digest(UpstreamClient& client,
                                                                          DocumentName name) {
  std::variant<Answer, Ending> asked =
      co_await client.fetch("HEAD", name.target(), question(name), kMaxDocument);
  if (auto* ending = std::get_if<Ending>(&asked)) co_return std::move(*ending);
  const Answer answer = std::get<Answer>(std::move(asked));
  const Ending ending = refusal(answer);
  if (ending.outcome != Outcome::unreachable) co_return ending;
  // What else HEAD has to say, as 405, is no word about the tag.
  if (answer.status != 200) co_return std::nullopt;
  co_return oci::Digest::parse(answer.headers.get("Docker-Content-Digest").value_or(""));
}

}  // namespace proxy

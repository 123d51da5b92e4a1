// Document: what an upstream says under a name: a manifest, a list of tags, a list of referrers;
// and how it is asked for one. (distribution-spec "Pulling manifests", "Listing Tags", "Listing
// Referrers")
//
// Transport and judgement only: when an upstream is asked, and what is kept of its answers, is the
// business of documents.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/task.h"
#include "base/thread_pool.h"
#include "cache/references.h"
#include "oci/digest.h"
#include "oci/name.h"
#include "proxy/outcome.h"
#include "proxy/upstream_client.h"

namespace proxy {

// More is no manifest and no list of ours.
inline constexpr uint64_t kMaxDocument = 4 << 20;

struct DocumentName {
  enum class Kind { manifest, tags, referrers };
  Kind kind = Kind::manifest;
  std::shared_ptr<Upstream> upstream;
  std::string repository;  // its name at the upstream
  std::string reference;   // a tag or a digest; of tags and referrers, see `query`
  std::string query;       // of lists; without "ns", "" or as in the client's URL
  std::string cdn_loop;    // of the request that wants it (RFC 8586): goes on to the upstream

  static DocumentName manifest(std::shared_ptr<Upstream> upstream, std::string repository,
                               const oci::Reference& reference);
  static DocumentName tags(std::shared_ptr<Upstream> upstream, std::string repository,
                           std::string query);
  static DocumentName referrers(std::shared_ptr<Upstream> upstream, std::string repository,
                                const oci::Digest& subject, std::string query);

  // What a manifest that is asked for by digest has to be; such a name never changes its meaning.
  std::optional<oci::Digest> digest() const;
  // Of a manifest's tag, the name of the manifest that it leads to; nullopt of other names.
  std::optional<DocumentName> under_digest(const oci::Digest& manifest_digest) const;
  // "/v2/app/manifests/latest"
  std::string target() const;
  // False of a list whose query has parameters that the API does not know. Clients can make up
  // any number of those; what the upstream says to them is not remembered.
  bool worth_remembering() const;
  // Among the names of all upstreams.
  std::string key() const { return upstream->name() + " " + target(); }
};

// What an upstream gave: bytes, whose digest was checked as far as it was known, and what to
// remember of them. `validated_at` is not set.
struct Fetched {
  cache::Reference reference;
  std::shared_ptr<const std::string> bytes;
};
// The name leads where it led before.
struct Unchanged {};

// Asks for the document, unconditionally without `known`. An Ending is absent (404), refused (401,
// 403), too_large, throttled, digest_mismatch, or unreachable for all that is no such document.
base::Task<std::variant<Fetched, Unchanged, Ending>> fetch_document(
    UpstreamClient& client, base::ThreadPool& pool, DocumentName name,
    std::optional<cache::Reference> known);

// The digest that a tag has now, by HEAD, which registries that count pulls do not count. nullopt:
// the answer does not tell.
base::Task<std::variant<std::optional<oci::Digest>, Ending>> fetch_digest(UpstreamClient& client,
                                                                          DocumentName name);

// The fields of Reference::fields. "" if it has none of that name.
std::string_view field_of(const cache::Reference& reference, std::string_view name);
inline constexpr std::string_view kETag = "ETag";
inline constexpr std::string_view kLastModified = "Last-Modified";
// The query of the next page of a list.
inline constexpr std::string_view kNextPage = "next";
inline constexpr std::string_view kFiltersApplied = "OCI-Filters-Applied";

}  // namespace proxy

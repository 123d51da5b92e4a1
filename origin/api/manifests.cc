#include "origin/api/manifests.h"

#include <algorithm>
#include <iterator>

#include "base/fault_point.h"
#include "http/content.h"
#include "oci/manifest.h"
#include "origin/api/notify.h"

namespace origin::api {
namespace {

using oci::ErrorCode;

// As many tags as one PUT may set with ?tag=.
constexpr size_t kMaxTagParameters = 100;

struct Stored {
  oci::Digest digest;
  std::string bytes;
  oci::Manifest manifest;
};

// What the bytes say; of what cannot be parsed, as the old schema 1, the type alone.
oci::Manifest parse_stored(const std::string& bytes) {
  auto manifest = oci::parse_manifest(bytes, "");
  if (manifest) return std::move(*manifest);
  return {.media_type = oci::stored_media_type(bytes)};
}

oci::Error unknown(const oci::ManifestRoute& route) {
  return oci::Error(ErrorCode::manifest_unknown, route.reference);
}

// A malformed digest is the client's mistake; a malformed tag just names nothing.
oci::Reference require_reference(const oci::ManifestRoute& route) {
  const auto reference = oci::parse_reference(route.reference);
  if (reference) return *reference;
  if (route.reference.find(':') == std::string::npos) throw unknown(route);
  throw oci::Error(ErrorCode::digest_invalid, "digest parsing failed");
}

// Pool.
std::optional<Stored> load(const Storage& storage, const std::string& repository,
                           const oci::Reference& reference) {
  const auto* tag = std::get_if<std::string>(&reference);
  const auto digest = tag ? storage.tags.get(repository, *tag) : std::get<oci::Digest>(reference);
  if (!digest) return std::nullopt;
  auto bytes = storage.manifests.get(repository, *digest);
  if (!bytes) return std::nullopt;
  oci::Manifest manifest = parse_stored(*bytes);
  return Stored{*digest, std::move(*bytes), std::move(manifest)};
}

base::Task<void> serve(const Context& context, http::Exchange& exchange,
                       const oci::ManifestRoute& route) {
  const oci::Reference reference = require_reference(route);
  const auto stored =
      co_await context.pool.run([&] { return load(context.storage, route.repository, reference); });
  if (!stored) throw unknown(route);

  http::BytesSource source(stored->bytes);
  co_await http::serve_content(
      exchange, context.content(stored->bytes.size(), stored->digest, stored->manifest.media_type),
      source);
  if (exchange.response.status() == 304 || exchange.response.status() == 416) co_return;
  const auto* tag = std::get_if<std::string>(&reference);
  manifest_pulled(context, exchange.request,
                  {route.repository, stored->digest, stored->bytes.size(), stored->manifest},
                  tag == nullptr ? "" : *tag);
}

// The whole body, or nullopt if it is larger than a manifest may be.
base::Task<std::optional<std::string>> read_body(http::BodyReader& body) {
  std::string bytes;
  if (body.length().value_or(0) > oci::kMaxManifestSize) co_return std::nullopt;
  while (true) {
    const std::string_view block = co_await body.read();
    if (block.empty()) co_return bytes;
    bytes += block;
    if (bytes.size() > oci::kMaxManifestSize) co_return std::nullopt;
  }
}

// Pool. An error for everything the manifest needs that the repository has not. A subject may be
// missing: it may be pushed later.
std::vector<oci::ErrorEntry> missing_references(const Storage& storage,
                                                const Validation& validation,
                                                const std::string& repository,
                                                const oci::Manifest& manifest) {
  std::vector<oci::ErrorEntry> missing;
  const auto need = [&missing](const oci::Descriptor& descriptor, bool satisfied) {
    if (satisfied) return;
    missing.push_back(
        {ErrorCode::manifest_blob_unknown, oci::detail_string(descriptor.digest.str())});
  };
  const auto there = [&](const oci::Descriptor& blob) {
    return storage.blobs.size(repository, blob.digest).has_value();
  };
  if (manifest.config) need(*manifest.config, there(*manifest.config));
  for (const oci::Descriptor& layer : manifest.blobs) {
    need(layer, !validation.requires_layer(layer) || there(layer));
  }
  for (const oci::Descriptor& child : manifest.manifests) {
    need(child,
         !validation.requires_child(child) || storage.manifests.exists(repository, child.digest));
  }
  return missing;
}

void check_urls(const Validation& validation, const oci::Manifest& manifest) {
  for (const oci::Descriptor& layer : manifest.blobs) {
    if (validation.allows_urls(layer)) continue;
    throw oci::Error(ErrorCode::manifest_invalid,
                     "this registry does not allow the URLs of layer " + layer.digest.str());
  }
}

// What a PUT asks for, checked as far as that needs no storage.
struct Push {
  oci::Digest digest;
  std::vector<std::string> tags;
  oci::Manifest manifest;
  std::string bytes;
};

Push check_push(const http::Request& request, const oci::ManifestRoute& route, std::string bytes) {
  const auto reference = oci::parse_reference(route.reference);
  const bool by_digest = route.reference.find(':') != std::string::npos;
  if (!reference && by_digest) throw oci::Error(ErrorCode::digest_invalid, "digest parsing failed");
  if (!reference) throw oci::Error(ErrorCode::tag_invalid, "invalid tag");

  const auto* digest = std::get_if<oci::Digest>(&*reference);
  const auto algorithm = digest ? digest->algorithm() : oci::Algorithm::sha256;
  const oci::Digest actual = oci::Digest::of(algorithm, bytes);
  if (digest && actual != *digest) throw oci::Error(ErrorCode::digest_invalid, actual.str());

  std::vector<std::string> tags;
  if (digest) {
    tags = request.query_values("tag");
  } else {
    tags.push_back(std::get<std::string>(*reference));
  }
  if (tags.size() > kMaxTagParameters) throw oci::Error(ErrorCode::tag_invalid, "too many tags");
  for (const std::string& tag : tags) {
    if (!oci::valid_tag(tag)) throw oci::Error(ErrorCode::tag_invalid, "invalid tag");
  }
  auto manifest = oci::parse_manifest(bytes, request.headers.get("Content-Type").value_or(""));
  if (!manifest) throw oci::Error(ErrorCode::manifest_invalid, manifest.error());
  return {actual, std::move(tags), std::move(*manifest), std::move(bytes)};
}

// Pool. The manifest, and only then the tags.
void store(Storage& storage, const Validation& validation, const std::string& repository,
           const Push& push) {
  check_urls(validation, push.manifest);
  auto missing = missing_references(storage, validation, repository, push.manifest);
  if (!missing.empty()) throw oci::Error(std::move(missing));
  std::optional<oci::Digest> subject;
  if (push.manifest.subject) subject = push.manifest.subject->digest;
  storage.manifests.put(repository, push.digest, push.bytes, subject);
  base::fault_point("manifest.put");
  for (const std::string& tag : push.tags) storage.tags.put(repository, tag, push.digest);
  base::fault_point("manifest.tagged");
  // A delete of the manifest that had begun before may have removed either since.
  storage.manifests.keep(repository, push.digest, subject);
  for (const std::string& tag : push.tags) {
    if (!storage.tags.get(repository, tag)) storage.tags.put(repository, tag, push.digest);
  }
}

base::Task<void> put(const Context& context, http::Exchange& exchange,
                     const oci::ManifestRoute& route) {
  auto bytes = co_await read_body(exchange.body);
  if (!bytes) {
    const oci::Error error(ErrorCode::manifest_invalid, "the manifest is larger than 4 MiB");
    co_return co_await exchange.response.send(context.error(413, error));
  }
  const Push push = co_await context.pool.run([&] {
    Push checked = check_push(exchange.request, route, std::move(*bytes));
    store(context.storage, context.config.validation, route.repository, checked);
    manifest_pushed(context, exchange.request,
                    {route.repository, checked.digest, checked.bytes.size(), checked.manifest},
                    checked.tags);
    return checked;
  });

  http::Response answer = context.response(201);
  answer.headers.set(
      "Location", context.location(exchange.request, manifest_path(route.repository, push.digest)));
  answer.headers.set("Docker-Content-Digest", push.digest.str());
  if (push.manifest.subject) {
    answer.headers.set("OCI-Subject", push.manifest.subject->digest.str());
  }
  for (const std::string& tag : exchange.request.query_values("tag")) {
    if (route.reference.find(':') != std::string::npos) answer.headers.add("OCI-Tag", tag);
  }
  co_await exchange.response.send(std::move(answer));
}

// Pool. A tag alone, or every tag that names the manifest and only then the manifest, so that no
// tag is left that leads nowhere; then the tags that a push has given it meanwhile. A push that
// ends after that sees that the manifest has gone, and puts it back (store()).
bool erase(const Context& context, const http::Request& request, const std::string& repository,
           const oci::Reference& reference) {
  Storage& storage = context.storage;
  if (const auto* tag = std::get_if<std::string>(&reference)) {
    if (!storage.tags.remove(repository, *tag)) return false;
    tag_deleted(context, request, repository, *tag);
    return true;
  }
  const oci::Digest& digest = std::get<oci::Digest>(reference);
  if (!storage.manifests.linked(repository, digest)) return false;
  std::vector<std::string> tags = storage.tags.remove_all_of(repository, digest);
  base::fault_point("manifest.untagged");
  if (!storage.manifests.remove(repository, digest)) return false;
  base::fault_point("manifest.removed");
  if (!storage.manifests.linked(repository, digest)) {
    std::ranges::copy(storage.tags.remove_all_of(repository, digest), std::back_inserter(tags));
  }
  manifest_deleted(context, request, repository, digest, tags);
  return true;
}

base::Task<void> remove(const Context& context, http::Exchange& exchange,
                        const oci::ManifestRoute& route) {
  if (!context.config.delete_enabled) throw oci::Error(ErrorCode::unsupported);
  const oci::Reference reference = require_reference(route);
  const bool removed = co_await context.pool.run(
      [&] { return erase(context, exchange.request, route.repository, reference); });
  if (!removed) throw unknown(route);
  co_await exchange.response.send(context.response(202));
}

}  // namespace

base::Task<void> manifests(const Context& context, http::Exchange& exchange,
                           const oci::ManifestRoute& route) {
  const http::Request& request = exchange.request;
  if (request.is("PUT")) {
    co_await put(context, exchange, route);
  } else if (request.is("DELETE")) {
    co_await remove(context, exchange, route);
  } else {
    co_await serve(context, exchange, route);
  }
}

}  // namespace origin::api

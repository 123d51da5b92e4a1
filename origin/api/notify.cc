#include "origin/api/notify.h"

#include "http/forwarded.h"
#include "origin/events/events.h"

namespace origin::api {
namespace {

// The client's address, with the port if it is the connection's own.
std::string client_of(const http::Request& request) {
  if (request.client != request.peer.address || request.peer.port == 0) return request.client;
  const bool ipv6 = request.client.find(':') != std::string::npos;
  const std::string address = ipv6 ? '[' + request.client + ']' : request.client;
  return address + ':' + std::to_string(request.peer.port);
}

void add(const Context& context, const http::Request& request, const char* action,
         EventTarget target) {
  context.events->add({action, std::move(target)}, request, client_of(request));
}

// Unlike in a Location never a path alone: who gets it has no request to complete it from.
std::string absolute_url(const Context& context, const http::Request& request,
                         const std::string& path) {
  return (context.config.host.empty() ? public_base(request) : context.config.host) +
         context.public_path(path);
}

EventTarget blob_target(const Context& context, const http::Request& request,
                        const std::string& repository, const oci::Digest& digest, uint64_t size) {
  EventTarget target;
  target.media_type = "application/octet-stream";
  target.size = size;
  target.digest = digest.str();
  target.repository = repository;
  target.url = absolute_url(context, request, blob_path(repository, digest));
  return target;
}

EventTarget manifest_target(const Context& context, const http::Request& request,
                            const ManifestInfo& info, const std::string& tag) {
  EventTarget target;
  target.media_type = info.manifest.media_type;
  target.size = info.size;
  target.digest = info.digest.str();
  target.repository = info.repository;
  target.url = absolute_url(context, request, manifest_path(info.repository, info.digest));
  target.tag = tag;
  if (!context.events->include_references()) return target;
  if (info.manifest.config) target.references.push_back(*info.manifest.config);
  for (const auto* list : {&info.manifest.blobs, &info.manifest.manifests}) {
    target.references.insert(target.references.end(), list->begin(), list->end());
  }
  return target;
}

}  // namespace

void blob_pulled(const Context& context, const http::Request& request,
                 const std::string& repository, const oci::Digest& digest, uint64_t size) {
  if (context.events == nullptr) return;
  add(context, request, "pull", blob_target(context, request, repository, digest, size));
}

void blob_pushed(const Context& context, const http::Request& request,
                 const std::string& repository, const oci::Digest& digest, uint64_t size) {
  if (context.events == nullptr) return;
  add(context, request, "push", blob_target(context, request, repository, digest, size));
  context.events->flush();
}

void blob_mounted(const Context& context, const http::Request& request,
                  const std::string& repository, const oci::Digest& digest, uint64_t size,
                  const std::string& from) {
  if (context.events == nullptr) return;
  EventTarget target = blob_target(context, request, repository, digest, size);
  target.from_repository = from;
  add(context, request, "mount", std::move(target));
  context.events->flush();
}

void blob_deleted(const Context& context, const http::Request& request,
                  const std::string& repository, const oci::Digest& digest) {
  if (context.events == nullptr) return;
  add(context, request, "delete", {.digest = digest.str(), .repository = repository});
  context.events->flush();
}

void manifest_pulled(const Context& context, const http::Request& request, const ManifestInfo& info,
                     const std::string& tag) {
  if (context.events == nullptr) return;
  add(context, request, "pull", manifest_target(context, request, info, tag));
}

void manifest_pushed(const Context& context, const http::Request& request, const ManifestInfo& info,
                     const std::vector<std::string>& tags) {
  if (context.events == nullptr) return;
  if (tags.empty()) add(context, request, "push", manifest_target(context, request, info, ""));
  for (const std::string& tag : tags) {
    add(context, request, "push", manifest_target(context, request, info, tag));
  }
  context.events->flush();
}

void manifest_deleted(const Context& context, const http::Request& request,
                      const std::string& repository, const oci::Digest& digest,
                      const std::vector<std::string>& tags) {
  if (context.events == nullptr) return;
  add(context, request, "delete", {.digest = digest.str(), .repository = repository});
  for (const std::string& tag : tags) {
    add(context, request, "delete", {.repository = repository, .tag = tag});
  }
  context.events->flush();
}

void tag_deleted(const Context& context, const http::Request& request,
                 const std::string& repository, const std::string& tag) {
  if (context.events == nullptr) return;
  add(context, request, "delete", {.repository = repository, .tag = tag});
  context.events->flush();
}

}  // namespace origin::api

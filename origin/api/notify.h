// What the handlers tell the endpoints of "notifications", one function for each thing that
// happens. Which of them Distribution tells, and with which fields, is followed to the letter.
// Nothing happens without endpoints.
//
// Those about a change are called on the pool after it and before its answer: they return when the
// event will survive the process. Those about a pull never block.
#pragma once

#include <string>
#include <vector>

#include "oci/manifest.h"
#include "origin/api/context.h"

namespace origin::api {

// Any GET or HEAD that finds what it asks for, also one that is redirected, or breaks off.
void blob_pulled(const Context& context, const http::Request& request,
                 const std::string& repository, const oci::Digest& digest, uint64_t size);
void blob_pushed(const Context& context, const http::Request& request,
                 const std::string& repository, const oci::Digest& digest, uint64_t size);
// `from` is empty if the client named no repository.
void blob_mounted(const Context& context, const http::Request& request,
                  const std::string& repository, const oci::Digest& digest, uint64_t size,
                  const std::string& from);
void blob_deleted(const Context& context, const http::Request& request,
                  const std::string& repository, const oci::Digest& digest);

// What a manifest event is about.
struct ManifestInfo {
  const std::string& repository;
  const oci::Digest& digest;
  uint64_t size;
  const oci::Manifest& manifest;
};

// `tag` is empty if the client asked by digest.
void manifest_pulled(const Context& context, const http::Request& request, const ManifestInfo& info,
                     const std::string& tag);
// One event for each tag, or one without.
void manifest_pushed(const Context& context, const http::Request& request, const ManifestInfo& info,
                     const std::vector<std::string>& tags);
// The manifest, then each tag that went with it.
void manifest_deleted(const Context& context, const http::Request& request,
                      const std::string& repository, const oci::Digest& digest,
                      const std::vector<std::string>& tags);
void tag_deleted(const Context& context, const http::Request& request,
                 const std::string& repository, const std::string& tag);

}  // namespace origin::api

// What the handlers of the registry API share, and the pieces every response is made of.
//
// A handler is one coroutine on the connection's loop, awaited by Registry in the statement that
// calls it; so it takes references. It is asked for the methods of its route alone. Storage is used
// on a pool. The context is the request's own: its configuration does not change while the
// request lasts.
#pragma once

#include <string>
#include <string_view>

#include "base/thread_pool.h"
#include "http/body.h"
#include "http/content.h"
#include "oci/digest.h"
#include "oci/error.h"
#include "origin/auth/identity.h"
#include "origin/config.h"
#include "origin/storage/storage.h"
#include "origin/upload_token.h"

namespace origin {
class Events;
}  // namespace origin

namespace origin::api {

struct Context {
  const Config& config;
  Storage& storage;
  base::ThreadPool& pool;
  base::ThreadPool& list_pool;  // for what walks directories, as the lists do
  base::ThreadPool& blob_pool;  // for what reads whole blobs
  const UploadTokens& tokens;
  Events* events = nullptr;      // none: nobody is told; see api/notify
  auth::Identity identity = {};  // who asks; the handlers are reached only by who may

  // Where to read, hash or copy so many bytes at once: not where others wait for what takes a
  // moment, if they are many.
  base::ThreadPool& pool_for(uint64_t bytes) const { return bytes > kLarge ? blob_pool : pool; }
  static constexpr uint64_t kLarge = 4 << 20;

  // The fields of every response: Docker-Distribution-Api-Version and http.headers.
  http::Headers headers() const;
  http::Response response(int status) const;
  // A representation of what has this digest.
  http::ContentInfo content(uint64_t size, const oci::Digest& digest, std::string_view type) const;
  // 200 with this JSON text.
  http::Response json(std::string body) const;
  // The errors as clients expect them, never to be cached; the status may differ from the code's.
  // A 503 says when to try again.
  http::Response error(const oci::Error& error) const;
  http::Response error(int status, const oci::Error& error) const;

  // "/v2/…" as clients see it: after http.prefix.
  std::string public_path(std::string_view path) const { return config.prefix + std::string(path); }
  // A URL for Location: http.host or what the client seems to know this registry by, before the
  // public path; that path alone when http.relativeurls says so.
  std::string location(const http::Request& request, std::string_view path) const;
};

// The digest in a path or query; throws DIGEST_INVALID.
oci::Digest require_digest(std::string_view text);

// The path of a blob or manifest, for Location.
std::string blob_path(const std::string& repository, const oci::Digest& digest);
std::string manifest_path(const std::string& repository, const oci::Digest& digest);

}  // namespace origin::api

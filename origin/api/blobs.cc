#include "origin/api/blobs.h"

#include <chrono>

#include "base/unix_time.h"
#include "http/content.h"
#include "http/signed_url.h"
#include "origin/api/notify.h"
#include "origin/redirect.h"

namespace origin::api {
namespace {

using oci::ErrorCode;

base::Task<void> serve(const Context& context, http::Exchange& exchange,
                       const std::string& repository, const oci::Digest& digest) {
  const auto blob =
      co_await context.pool.run([&] { return context.storage.blobs.open(repository, digest); });
  if (!blob) throw oci::Error(ErrorCode::blob_unknown, digest.str());

  const auto elsewhere = redirect_url(context.config.redirect, exchange.request, repository, digest,
                                      blob->size, base::unix_now());
  if (elsewhere) {
    blob_pulled(context, exchange.request, repository, digest, blob->size);
    http::Response answer = context.response(context.config.redirect.status);
    answer.headers.set("Location", *elsewhere);
    if (context.config.redirect.signature) answer.headers.set("Cache-Control", "no-store");
    co_await exchange.response.send(std::move(answer));
    co_return;
  }
  http::ContentInfo info = context.content(blob->size, digest, "application/octet-stream");
  info.headers.set("Cache-Control", "max-age=31536000, immutable");
  if (!http::range_unsatisfiable(exchange.request, info)) {
    blob_pulled(context, exchange.request, repository, digest, blob->size);
  }
  http::FileSource source(blob->fd.get());
  co_await http::serve_content(exchange, std::move(info), source);
}

base::Task<void> remove(const Context& context, http::Exchange& exchange,
                        const std::string& repository, const oci::Digest& digest) {
  if (!context.config.delete_enabled) throw oci::Error(ErrorCode::unsupported);
  const bool removed = co_await context.pool.run([&] {
    if (!context.storage.blobs.remove(repository, digest)) return false;
    blob_deleted(context, exchange.request, repository, digest);
    return true;
  });
  if (!removed) throw oci::Error(ErrorCode::blob_unknown, digest.str());
  http::Response answer = context.response(202);
  answer.headers.set("Docker-Content-Digest", digest.str());
  co_await exchange.response.send(std::move(answer));
}

}  // namespace

base::Task<void> blobs(const Context& context, http::Exchange& exchange,
                       const oci::BlobRoute& route) {
  const oci::Digest digest = require_digest(route.digest);
  if (exchange.request.is("DELETE")) {
    co_await remove(context, exchange, route.repository, digest);
  } else {
    co_await serve(context, exchange, route.repository, digest);
  }
}

}  // namespace origin::api

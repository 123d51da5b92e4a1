#include "origin/api/uploads.h"

#include <exception>

#include "origin/api/content_range.h"
#include "origin/api/notify.h"

namespace origin::api {
namespace {

using oci::ErrorCode;

// What of an upload the client is told after each request.
struct Progress {
  std::string id;
  std::string started_at;
  uint64_t size = 0;
};

// The chunk that the client says it sends does not begin where the upload ends.
struct OutOfOrder {};

constexpr std::string_view kAlgorithm = "digest-algorithm";

// Of the digest that the client will end its upload with. It may say so when it begins; the
// upload's URL has it from then on.
oci::Algorithm algorithm_of(const http::Request& request) {
  return oci::parse_algorithm(request.query_value(kAlgorithm).value_or(""))
      .value_or(oci::Algorithm::sha256);
}

http::Response with_progress(const Context& context, const http::Request& request,
                             const std::string& repository, const Progress& progress,
                             http::Response answer) {
  const std::string state =
      context.tokens.issue({repository, progress.id, progress.size}, progress.started_at);
  // "0-0" also when there is nothing yet, as in Distribution.
  const uint64_t last = progress.size == 0 ? 0 : progress.size - 1;
  std::string path = "/v2/" + repository + "/blobs/uploads/" + progress.id + "?_state=" + state;
  if (const oci::Algorithm algorithm = algorithm_of(request); algorithm != oci::Algorithm::sha256) {
    path.append("&").append(kAlgorithm).append("=").append(oci::algorithm_name(algorithm));
  }
  answer.headers.set("Location", context.location(request, path));
  answer.headers.set("Range", "0-" + std::to_string(last));
  answer.headers.set("Docker-Upload-UUID", progress.id);
  return answer;
}

http::Response blob_created(const Context& context, const http::Request& request,
                            const std::string& repository, const oci::Digest& digest) {
  http::Response answer = context.response(201);
  answer.headers.set("Location", context.location(request, blob_path(repository, digest)));
  answer.headers.set("Docker-Content-Digest", digest.str());
  return answer;
}

// The offset in the request's token, if it has one. A token is not needed, since the storage knows
// all that it says; but one that is there must be ours and for this upload.
std::optional<uint64_t> token_offset(const Context& context, const http::Request& request,
                                     const oci::UploadRoute& route) {
  const auto state = request.query_value("_state");
  if (!state) return std::nullopt;
  const auto token = context.tokens.read(*state);
  if (!token || token->repository != route.repository || token->id != route.id) {
    throw oci::Error(ErrorCode::blob_upload_invalid, "_state is not of this upload");
  }
  return token->offset;
}

// Pool. The upload, for this request alone.
Upload open_upload(const Context& context, const std::string& repository, const std::string& id,
                   oci::Algorithm algorithm) {
  auto upload = context.storage.uploads.open(repository, id, algorithm);
  if (upload) return std::move(*upload);
  if (upload.error() == UploadUnavailable::unknown) {
    throw oci::Error(ErrorCode::blob_upload_unknown, id);
  }
  throw oci::Error(ErrorCode::unavailable, "another request is writing this upload");
}

// Appends the body. What arrived of a body that broke off is kept, and the client is told so when
// it asks; what does not have the length of its Content-Range is not.
base::Task<void> receive(const Context& context, http::BodyReader& body, Upload& upload,
                         std::optional<uint64_t> declared) {
  const uint64_t start = upload.size();
  std::exception_ptr broken;
  bool too_long = false;
  try {
    while (!too_long) {
      const std::string_view block = co_await body.read();
      if (block.empty()) break;
      too_long = declared && upload.size() - start + block.size() > *declared;
      if (!too_long) co_await context.pool.run([&] { upload.append(block); });
    }
  } catch (const http::ConnectionError&) {
    broken = std::current_exception();
  } catch (const http::StatusError&) {
    broken = std::current_exception();
  }
  if (broken) {
    co_await context.pool.run([&] { upload.save(); });
    std::rethrow_exception(broken);
  }
  if (too_long || (declared && upload.size() - start != *declared)) {
    co_await context.pool.run([&] { upload.truncate(start); });
    throw oci::Error(ErrorCode::size_invalid, "the body does not have its Content-Range's length");
  }
}

// Checks that the chunk begins where the upload ends, and appends it. OutOfOrder.
base::Task<void> receive_chunk(const Context& context, http::Exchange& exchange, Upload& upload,
                               std::optional<uint64_t> expected_size) {
  if (expected_size && *expected_size != upload.size()) throw OutOfOrder();
  std::optional<uint64_t> declared;
  if (const auto field = exchange.request.headers.get("Content-Range")) {
    const auto chunk = parse_content_range(*field);
    if (!chunk || chunk->first != upload.size()) throw OutOfOrder();
    declared = chunk->length;
    // Known to be wrong before a byte of it is read.
    if (exchange.body.length().value_or(chunk->length) != chunk->length) {
      throw oci::Error(ErrorCode::size_invalid, "Content-Range and Content-Length do not agree");
    }
  }
  if (upload.inherited()) {
    co_await context.pool_for(upload.size()).run([&] { upload.take_over(); });
  }
  co_await receive(context, exchange.body, upload, declared);
}

base::Task<Progress> read_progress(const Context& context, const oci::UploadRoute& route) {
  const auto status = co_await context.pool.run(
      [&] { return context.storage.uploads.status(route.repository, route.id); });
  if (!status) throw oci::Error(ErrorCode::blob_upload_unknown, route.id);
  co_return Progress{route.id, status->started_at, status->size};
}

// These two hold the upload's lease until they return; the answer is sent after, so that a client
// that goes on at once, on whichever replica, finds it free.
base::Task<void> append(const Context& context, http::Exchange& exchange,
                        const oci::UploadRoute& route, std::optional<uint64_t> expected_size) {
  Upload upload = co_await context.pool.run([&] {
    return open_upload(context, route.repository, route.id, algorithm_of(exchange.request));
  });
  co_await receive_chunk(context, exchange, upload, expected_size);
  co_await context.pool.run([&] { upload.save(); });
}

base::Task<bool> append_and_commit(const Context& context, http::Exchange& exchange,
                                   const oci::UploadRoute& route, const oci::Digest& digest,
                                   std::optional<uint64_t> expected_size) {
  Upload upload = co_await context.pool.run(
      [&] { return open_upload(context, route.repository, route.id, digest.algorithm()); });
  co_await receive_chunk(context, exchange, upload, expected_size);
  const bool committed = co_await context.pool_for(upload.size()).run([&] {
    if (!upload.commit(digest, context.storage.blobs)) return false;
    blob_pushed(context, exchange.request, route.repository, digest, upload.size());
    return true;
  });
  co_return committed;
}

oci::Digest digest_parameter(const http::Request& request) {
  const auto text = request.query_value("digest");
  if (!text) throw oci::Error(ErrorCode::digest_invalid, "digest missing");
  return require_digest(*text);
}

// POST ?mount=: whether the repository has the blob now. Nobody gets by its digest alone a blob of
// a repository that it may not pull from.
base::Task<bool> mount(const Context& context, const http::Request& request,
                       const std::string& repository, const oci::Digest& digest) {
  const auto from = request.query_value("from");
  if (from && !oci::valid_repository(*from)) co_return false;
  if (from ? !context.identity.may(*from, auth::Action::pull)
           : !context.identity.may_pull_everywhere()) {
    co_return false;
  }
  const bool mounted = co_await context.pool.run([&] {
    if (!context.storage.blobs.mount(from, repository, digest)) return false;
    const uint64_t size = context.storage.blobs.size(repository, digest).value_or(0);
    blob_mounted(context, request, repository, digest, size, from.value_or(""));
    return true;
  });
  co_return mounted;
}

// POST ?digest=: the whole upload in one request. The client knows no id, so nothing is kept.
base::Task<void> upload_at_once(const Context& context, http::Exchange& exchange,
                                const std::string& repository) {
  const oci::Digest digest = digest_parameter(exchange.request);
  std::string id =
      co_await context.pool.run([&] { return context.storage.uploads.create(repository); });
  const oci::UploadRoute route{repository, std::move(id)};
  std::exception_ptr failure;
  bool committed = false;
  try {
    committed = co_await append_and_commit(context, exchange, route, digest, std::nullopt);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!committed) {
    co_await context.pool.run([&] {
      auto upload = context.storage.uploads.open(repository, route.id);
      if (upload) upload->cancel();
    });
  }
  if (failure) std::rethrow_exception(failure);
  if (!committed) throw oci::Error(ErrorCode::digest_invalid, digest.str());
  co_await exchange.response.send(blob_created(context, exchange.request, repository, digest));
}

base::Task<void> patch(const Context& context, http::Exchange& exchange,
                       const oci::UploadRoute& route) {
  const auto offset = token_offset(context, exchange.request, route);
  co_await append(context, exchange, route, offset);
  const Progress progress = co_await read_progress(context, route);
  co_await exchange.response.send(
      with_progress(context, exchange.request, route.repository, progress, context.response(202)));
}

base::Task<void> put(const Context& context, http::Exchange& exchange,
                     const oci::UploadRoute& route) {
  const oci::Digest digest = digest_parameter(exchange.request);
  const auto offset = token_offset(context, exchange.request, route);
  const bool committed = co_await append_and_commit(context, exchange, route, digest, offset);
  if (!committed) throw oci::Error(ErrorCode::digest_invalid, digest.str());
  co_await exchange.response.send(
      blob_created(context, exchange.request, route.repository, digest));
}

base::Task<void> status(const Context& context, http::Exchange& exchange,
                        const oci::UploadRoute& route) {
  token_offset(context, exchange.request, route);
  const Progress progress = co_await read_progress(context, route);
  co_await exchange.response.send(
      with_progress(context, exchange.request, route.repository, progress, context.response(204)));
}

base::Task<void> remove(const Context& context, http::Exchange& exchange,
                        const oci::UploadRoute& route) {
  token_offset(context, exchange.request, route);
  co_await context.pool.run([&] {
    open_upload(context, route.repository, route.id, algorithm_of(exchange.request)).cancel();
  });
  http::Response answer = context.response(204);
  answer.headers.set("Docker-Upload-UUID", route.id);
  co_await exchange.response.send(std::move(answer));
}

// 416, with where the upload ends, so that the client can go on from there.
base::Task<void> refuse_out_of_order(const Context& context, http::Exchange& exchange,
                                     const oci::UploadRoute& route) {
  const Progress progress = co_await read_progress(context, route);
  const oci::Error error(ErrorCode::range_invalid,
                         "the upload has " + std::to_string(progress.size) + " bytes");
  co_await exchange.response.send(
      with_progress(context, exchange.request, route.repository, progress, context.error(error)));
}

}  // namespace

base::Task<void> start_upload(const Context& context, http::Exchange& exchange,
                              const oci::UploadsRoute& route) {
  const http::Request& request = exchange.request;
  // An upload without an id, as Distribution sees it.
  if (!request.is("POST")) throw oci::Error(ErrorCode::blob_upload_unknown);
  // A mount that cannot be is an upload like any other.
  if (const auto digest = oci::Digest::parse(request.query_value("mount").value_or(""))) {
    const bool mounted = co_await mount(context, request, route.repository, *digest);
    if (mounted) {
      co_await exchange.response.send(blob_created(context, request, route.repository, *digest));
      co_return;
    }
  } else if (request.query_value("digest")) {
    co_return co_await upload_at_once(context, exchange, route.repository);
  }
  std::string id =
      co_await context.pool.run([&] { return context.storage.uploads.create(route.repository); });
  const Progress progress =
      co_await read_progress(context, oci::UploadRoute{route.repository, std::move(id)});
  co_await exchange.response.send(
      with_progress(context, request, route.repository, progress, context.response(202)));
}

base::Task<void> uploads(const Context& context, http::Exchange& exchange,
                         const oci::UploadRoute& route) {
  const http::Request& request = exchange.request;
  bool out_of_order = false;
  try {
    if (request.is("PATCH")) {
      co_await patch(context, exchange, route);
    } else if (request.is("PUT")) {
      co_await put(context, exchange, route);
    } else if (request.is("DELETE")) {
      co_await remove(context, exchange, route);
    } else {
      co_await status(context, exchange, route);
    }
  } catch (const OutOfOrder&) {
    out_of_order = true;
  }
  if (out_of_order) co_await refuse_out_of_order(context, exchange, route);
}

base::Task<void> require_upload(const Context& context, const http::Request& request,
                                const oci::UploadRoute& route) {
  token_offset(context, request, route);
  co_await read_progress(context, route);
}

}  // namespace origin::api

#include "proxy/error_answer.h"

#include <glog/logging.h>

namespace proxy {

using oci::ErrorCode;

namespace {

// What is not there is called so by the route: GET of referrers has nothing to be unknown but a
// name, and clients that are told NAME_UNKNOWN there do not look under the tag (oras-go).
ErrorCode unknown(DocumentName::Kind kind) {
  return kind == DocumentName::Kind::tags ? ErrorCode::name_unknown : ErrorCode::manifest_unknown;
}

}  // namespace

ErrorAnswer blob_error(Outcome outcome) {
  switch (outcome) {
    case Outcome::absent:
      return {404, ErrorCode::blob_unknown, "the upstream has no such blob"};
    case Outcome::refused:
      return {502, ErrorCode::unavailable, "the upstream refused this cache's request"};
    case Outcome::too_large:
      return {502, ErrorCode::unavailable, "the upstream's answer is too large for this cache"};
    case Outcome::throttled:
      return {429, ErrorCode::too_many_requests, "the upstream limits this cache's requests"};
    case Outcome::busy:
      return {503, ErrorCode::unavailable, "too many requests to the upstream are waiting"};
    case Outcome::unreachable:
      return {502, ErrorCode::unavailable, "the upstream did not give it"};
    case Outcome::digest_mismatch:
      return {502, ErrorCode::unavailable, "the upstream's bytes do not match the digest"};
    case Outcome::no_space:
      return {503, ErrorCode::unavailable, "the cache has no room for it"};
    case Outcome::storage_failed:
      return {503, ErrorCode::unavailable, "the cache's storage failed"};
    case Outcome::overtaken:
      return {503, ErrorCode::unavailable, "the cache has it from another upstream meanwhile"};
    case Outcome::cancelled:
      return {503, ErrorCode::unavailable, "the cache is shutting down"};
    case Outcome::filling:
    case Outcome::verified:
      break;
  }
  LOG(FATAL) << "no answer for a fill that did not fail";
}

ErrorAnswer document_error(DocumentName::Kind kind, Outcome outcome) {
  switch (outcome) {
    case Outcome::absent:
      return {404, unknown(kind), "the upstream has no such thing"};
    case Outcome::refused:
      return {404, unknown(kind), "the upstream refuses it to this cache"};
    default:
      return blob_error(outcome);
  }
}

}  // namespace proxy

#include "proxy/signature_check.h"

#include <glog/logging.h>

#include <string_view>

#include "base/log.h"
#include "oci/error.h"

namespace proxy {
namespace {

using enum http::SignatureVerdict;

std::string_view reason(http::SignatureVerdict verdict) {
  switch (verdict) {
    case missing:
      return "the URL is not signed: ask the registry for the blob";
    case malformed:
      return "the URL's signature is malformed";
    case unknown_key:
      return "the URL is signed with a key that is not known here";
    case wrong:
      return "the URL's signature is wrong";
    case expired:
      return "the URL has expired: ask the registry for the blob again";
    case other_client:
      return "the URL was given to a client in another network";
    case good:
      break;
  }
  return "";
}

}  // namespace

void SignatureCheck::check(const http::Request& request, int64_t now) const {
  const http::SignatureVerdict verdict = http::verify_signature(
      config_.keys, request, request.client, now - config_.clock_skew.count());
  if (verdict == good || (verdict == missing && !config_.required)) return;
  // These may be mistakes in the origin's or our configuration: nobody gets what is asked for.
  if (verdict == unknown_key || verdict == wrong || verdict == other_client) {
    LOG_EVERY_T(WARNING, 60) << "refused " << base::printable(request.client)
                             << " a blob: " << reason(verdict) << " (said once a minute at most)";
  }
  throw oci::Error(oci::ErrorCode::denied, reason(verdict));
}

}  // namespace proxy

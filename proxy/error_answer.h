// What a client is told of a fill or a question that ended without what it asked for. 4xx only for
// what is about the blob or document; what is about the edge or its upstreams is 5xx, which clients
// retry elsewhere. Pure.
#pragma once

#include <string_view>

#include "oci/error.h"
#include "proxy/document.h"
#include "proxy/outcome.h"

namespace proxy {

struct ErrorAnswer {
  int status;
  oci::ErrorCode code;
  std::string_view detail;
};

// REQUIRES: the outcome is one of an end without the whole blob.
ErrorAnswer blob_error(Outcome outcome);
ErrorAnswer document_error(DocumentName::Kind kind, Outcome outcome);

}  // namespace proxy

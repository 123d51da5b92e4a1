// /v2/<name>/blobs/uploads/ and …/<id>: pushing blobs (distribution-spec "Pushing blobs").
//
//   POST    begins an upload: 202; with ?digest= and a body it is the whole of it: 201;
//           with ?mount=[&from=] nothing is sent at all, if the blob is there: 201
//   PATCH   appends, streamed or in chunks with Content-Range: 202
//   PUT     appends what it brings and ends the upload: 201
//   GET     (and HEAD) tells how far it got: 204
//   DELETE  ends it without a blob: 204
//
// The request that reads a body takes no more of it than it has written to the storage.
#pragma once

#include "oci/name.h"
#include "origin/api/context.h"

namespace origin::api {

base::Task<void> start_upload(const Context& context, http::Exchange& exchange,
                              const oci::UploadsRoute& route);

base::Task<void> uploads(const Context& context, http::Exchange& exchange,
                         const oci::UploadRoute& route);

// For a method that is none of these: BLOB_UPLOAD_UNKNOWN if there is no such upload.
base::Task<void> require_upload(const Context& context, const http::Request& request,
                                const oci::UploadRoute& route);

}  // namespace origin::api

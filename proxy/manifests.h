// GET and HEAD of manifests, lists of tags and lists of referrers, of upstreams whose whole images
// are mirrored. (distribution-spec "Pulling manifests", "Listing Tags", "Listing Referrers",
// "Registry proxying"; Cache-Status RFC 9211; Age RFC 9111 §5.1)
//
// What an upstream says no to (404, 401, 403) is 404 here, because clients go on to their next
// mirror then, and stop at anything else. What is wrong with the upstream is 502, or 429.
#pragma once

#include <optional>
#include <string>

#include "base/task.h"
#include "http/body.h"
#include "http/content.h"
#include "proxy/document_source.h"
#include "proxy/documents.h"
#include "proxy/routing.h"
#include "proxy/warmer.h"

namespace proxy {

// Thread-safe; one for all loops. Owned by Edge.
class Manifests {
 public:
  // `name` is the edge's own, in Via and Cache-Status.
  Manifests(Documents& documents, Warmer& warmer, std::string name)
      : documents_(documents), warmer_(warmer), name_(std::move(name)) {}

  // All three REQUIRE: the method is GET or HEAD, the upstream is one of images.
  base::Task<void> serve(http::Exchange& exchange, Routing::Destination from,
                         std::string reference);
  // `repository` is its name here.
  base::Task<void> serve_tags(http::Exchange& exchange, Routing::Destination from,
                              std::string repository);
  base::Task<void> serve_referrers(http::Exchange& exchange, Routing::Destination from,
                                   oci::ReferrersRoute route);

 private:
  // What is to be served; nullopt once the client has been told why there is nothing.
  base::Task<std::optional<Document>> find(http::Exchange& exchange, DocumentName name);
  base::Task<void> serve_list(http::Exchange& exchange, const DocumentName& name,
                              const Document& document, DocumentSource& source, std::string path);
  base::Task<void> serve_ending(http::Exchange& exchange, const DocumentName& name, Ending ending);
  http::ContentInfo content(const http::Request& request, const DocumentName& name,
                            const Document& document, uint64_t size) const;

  Documents& documents_;
  Warmer& warmer_;
  const std::string name_;
};

}  // namespace proxy

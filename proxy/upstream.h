// Upstream: requests to the origins a blob can be fetched from. Transport only: one attempt at one
// URL; who is asked next and when is the fill's business (fill.h).
//
// Lives on one loop, as the http::Client it uses.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/task.h"
#include "http/client.h"
#include "oci/digest.h"
#include "proxy/progress.h"

namespace proxy {

struct UpstreamOptions {
  std::vector<std::string>
      urls;            // "https://registry.example", no trailing slash; tried in this order
  std::string bearer;  // shared secret that shows the origin this is the edge; may be empty
  std::string via;     // our name in Via
  // Attempts without progress on every URL before a fill is given up, and the pause between two
  // rounds over the URLs, doubled each round.
  size_t rounds = 3;
  base::Duration round_delay = std::chrono::milliseconds(200);
};

// What a blob is called upstream.
struct BlobName {
  std::string repository;
  oci::Digest digest;
};

// A response that gives blob bytes from `begin` on.
struct Transfer {
  std::unique_ptr<http::ClientResponse> response;
  uint64_t blob_size = 0;
  uint64_t skip = 0;  // bytes to throw away first: the upstream ignored the range
};

class Upstream {
 public:
  Upstream(http::Client& client, const UpstreamOptions& options)
      : client_(client), options_(options) {}

  // Asks for bytes [begin, end) of the blob; `end` nullopt means to its end. `size`, once known,
  // must be confirmed by the answer. Anything but usable bytes is an Ending: absent, refused,
  // throttled, unreachable, or digest_mismatch when the size is another; it is about this attempt
  // and nothing in it is final.
  base::Task<std::variant<Transfer, Ending>> get(size_t url, BlobName name, uint64_t begin,
                                                 std::optional<uint64_t> end,
                                                 std::optional<uint64_t> size);

  // The blob's size by HEAD.
  base::Task<std::variant<uint64_t, Ending>> head(size_t url, BlobName name);

  size_t urls() const { return options_.urls.size(); }
  const UpstreamOptions& options() const { return options_; }

 private:
  http::ClientRequest request(size_t url, const BlobName& name, std::string method) const;

  http::Client& client_;
  const UpstreamOptions& options_;
};

}  // namespace proxy

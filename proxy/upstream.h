// Upstream: one registry that blobs and manifests are fetched from, as all loops share it.
// UpstreamClient: requests to it from one loop. Transport only: one attempt at one URL; who is
// asked next and when is the fill's business (fill.h).
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
#include "proxy/upstream_config.h"

namespace proxy {

// Thread-safe. Shared by the routing, the fills and the clients of each loop.
class Upstream {
 public:
  explicit Upstream(UpstreamConfig config) : config_(std::move(config)) {}
  const UpstreamConfig& config() const { return config_; }
  const std::string& name() const { return config_.name; }

 private:
  const UpstreamConfig config_;
};

// What a blob is called, and where.
struct BlobName {
  std::shared_ptr<Upstream> upstream;
  std::string repository;
  oci::Digest digest;
};

// A response that gives blob bytes from `begin` on.
struct Transfer {
  std::unique_ptr<http::ClientResponse> response;
  uint64_t blob_size = 0;
  uint64_t skip = 0;  // bytes to throw away first: the upstream ignored the range
};

// A whole small answer, whatever its status: of a manifest, a list of tags, referrers.
struct Answer {
  std::string url;  // which was asked
  int status = 0;
  http::Headers headers;
  std::string body;
};

// Lives on one loop.
class UpstreamClient {
 public:
  // `edge` is our name, in Via.
  UpstreamClient(base::EventLoop& loop, std::shared_ptr<Upstream> upstream, std::string edge)
      : upstream_(std::move(upstream)),
        client_(loop, upstream_->config().client),
        edge_(std::move(edge)) {}

  // Asks for bytes [begin, end) of the blob; `end` nullopt means to its end. `size`, once known,
  // must be confirmed by the answer. Anything but usable bytes is an Ending: absent, refused,
  // throttled, unreachable, or digest_mismatch when the size is another; it is about this attempt
  // and nothing in it is final.
  base::Task<std::variant<Transfer, Ending>> get(size_t url, BlobName name, uint64_t begin,
                                                 std::optional<uint64_t> end,
                                                 std::optional<uint64_t> size);

  // The blob's size by HEAD.
  base::Task<std::variant<uint64_t, Ending>> head(size_t url, BlobName name);

  // A whole answer of at most `limit` bytes, from the first URL that gives one that is neither a
  // server error nor 429. `target` begins with "/v2/" and may have a query. Statuses are the
  // caller's to read; an Ending (throttled, unreachable) says that no URL answered.
  base::Task<std::variant<Answer, Ending>> fetch(std::string method, std::string target,
                                                 http::Headers headers, uint64_t limit);

  // Fails what is open and what comes later (http::Client::abort).
  void abort() { client_.abort(); }

 private:
  http::ClientRequest request(size_t url, const BlobName& name, std::string method) const;
  http::ClientRequest request(size_t url, const std::string& target, std::string method) const;

  std::shared_ptr<Upstream> upstream_;
  http::Client client_;
  const std::string edge_;
};

}  // namespace proxy

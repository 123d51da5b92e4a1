// UpstreamClient: requests to one upstream from one loop, and what their answers mean.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/task.h"
#include "http/client.h"
#include "oci/digest.h"
#include "proxy/outcome.h"
#include "proxy/progress.h"
#include "proxy/requests.h"
#include "proxy/upstream.h"

namespace proxy {

// A response that gives blob bytes from where it was asked to on. Belongs to one coroutine, on the
// loop of its UpstreamClient, which outlives it.
class Transfer {
 public:
  // The next bytes (http::ClientResponse::read); empty at its end. http::TransferError, which the
  // upstream's health is told of, if it breaks or ends before that.
  base::Task<std::string_view> read();
  // All its bytes have been read: waits a moment for its end, so that its connection can be used
  // again.
  base::Task<void> wait_for_end();

  uint64_t blob_size() const { return blob_size_; }
  // It is the whole blob (200) whatever was asked for: read() throws away what comes before the
  // byte where it was asked to begin, and it does not end where it was asked to.
  bool whole() const { return reply_.response->status() == 200; }
  // Where its bytes end: that of the range, or of the blob.
  uint64_t end() const { return span_.end; }
  size_t url() const { return url_; }
  // What read() gave was worth the connection: if it breaks now, that counts as a new beginning.
  bool worthwhile() const;

 private:
  friend class UpstreamClient;
  Transfer(Requests& requests, Upstream& upstream, size_t url, Reply reply, uint64_t blob_size,
           Span span, uint64_t skip)
      : requests_(&requests),
        upstream_(&upstream),
        url_(url),
        reply_(std::move(reply)),
        blob_size_(blob_size),
        span_(span),
        skip_(skip) {}
  base::Task<std::string_view> receive();

  Requests* requests_;
  Upstream* upstream_;
  size_t url_;
  Reply reply_;
  uint64_t blob_size_;
  Span span_;
  uint64_t skip_;
  uint64_t given_ = 0;      // bytes, by read()
  bool succeeded_ = false;  // the upstream's health knows
};

// A whole small answer, whatever its status: of a manifest, a list of tags, referrers.
struct Answer {
  std::string url;  // which was asked
  int status = 0;
  http::Headers headers;
  std::string body;
};

// Lives on one loop. Whoever calls holds the Upstream until the call, and the Transfer that came of
// it, are over.
class UpstreamClient {
 public:
  // `edge` is our name, in Via and CDN-Loop.
  UpstreamClient(base::EventLoop& loop, Upstream& upstream, std::string edge)
      : upstream_(upstream), requests_(loop, upstream, std::move(edge)) {}

  // Asks one URL for bytes [begin, end) of the blob; `end` nullopt means to its end. `size`, once
  // known, must be confirmed by the answer; for `resumes` see Requests::send. Anything but usable
  // bytes is an Ending: absent, refused, throttled, busy, unreachable, or digest_mismatch when the
  // size is another; it is about this attempt and nothing in it is final. Whom to ask next is
  // Attempts' to say.
  base::Task<std::variant<Transfer, Ending>> get(size_t url, BlobName name, uint64_t begin,
                                                 std::optional<uint64_t> end,
                                                 std::optional<uint64_t> size, bool resumes);

  // The blob's size by HEAD, from the first URL that does not fail.
  base::Task<std::variant<uint64_t, Ending>> head(BlobName name);

  // A whole answer, from the first URL that gives one that is neither a server error nor 429, if it
  // is of at most `limit` bytes; else too_large. `target` begins with "/v2/" and may have a query.
  // Statuses are the caller's to read; another Ending (throttled, busy, unreachable) says that no
  // URL answered. `headers` may have the CDN-Loop of the request that it is asked for.
  base::Task<std::variant<Answer, Ending>> fetch(std::string method, std::string target,
                                                 http::Headers headers, uint64_t limit);

  // Asks the URLs whose health is to be looked at (UpstreamConfig::health_check).
  base::Task<void> check_health();

  // Fails what is open and what comes later (http::Client::abort).
  void abort() { requests_.abort(); }

 private:
  struct Wanted;
  struct Part;
  std::expected<Part, Ending> part_of(size_t url, const http::ClientResponse& response,
                                      const Wanted& wanted);
  std::expected<Part, Ending> ranged_part(size_t url, const http::ClientResponse& response,
                                          const Wanted& wanted);
  Ending another_size(size_t url, const oci::Digest& digest, uint64_t before, uint64_t now);
  base::Task<std::variant<uint64_t, Ending>> size_of(size_t url, BlobName name);

  Upstream& upstream_;
  Requests requests_;
};

}  // namespace proxy

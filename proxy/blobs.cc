#include "proxy/blobs.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <expected>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/unix_time.h"
#include "http/range.h"
#include "oci/error.h"
#include "proxy/answer.h"
#include "proxy/error_answer.h"
#include "proxy/fill_source.h"
#include "proxy/hit_source.h"

namespace proxy {
namespace {

// A response waits so long for its first bytes before its head goes out alone. Until then a fill
// that fails can still be answered with an error instead of a reset; clients give up on a head
// after 30 seconds (containerd).
constexpr auto kHeadDelay = std::chrono::seconds(10);

// A quarter of the requests in flight is for hits.
constexpr size_t kHitsPart = 4;

// Counts a request for a blob that is not held.
class Miss {
 public:
  explicit Miss(std::atomic<size_t>& count) : count_(count), position_(++count) {}
  ~Miss() { --count_; }
  Miss(const Miss&) = delete;
  Miss& operator=(const Miss&) = delete;
  size_t position() const { return position_; }

 private:
  std::atomic<size_t>& count_;
  const size_t position_;
};

base::TimePoint now() { return base::EventLoop::current()->now(); }

// Pool. A copy that cannot be opened now, for want of descriptors, say, is a miss: the fill meets
// the same, and then the blob is passed through.
std::shared_ptr<const cache::Blob> try_open(const Store& store, const oci::Digest& digest) {
  try {
    return store.open(digest);
  } catch (const base::IoError& error) {
    LOG(ERROR) << "the copy of " << digest.str() << " cannot be opened: " << error.what();
    return nullptr;
  }
}

// The part of the blob that the response begins with, to wait for its first byte.
http::ByteRange first_part(const http::Request& request, uint64_t size) {
  if (const auto field = request.headers.get("Range"); field && !request.headers.has("If-Range")) {
    const http::RangeSelection selection = http::parse_range(*field, size);
    if (selection.kind == http::RangeSelection::Kind::partial) return selection.ranges.front();
  }
  return {0, size};
}

// Several ranges that one transfer would not bring one after the other, or of which the last
// block's bytes may be passed on only with all others hashed.
bool are_passed_as_whole(const http::Request& request, uint64_t size) {
  const std::vector<http::ByteRange> ranges =
      http::parse_range(request.headers.get("Range").value_or(""), size).ranges;
  const auto goes_back = [](const http::ByteRange& one, const http::ByteRange& next) {
    return next.first < one.end();
  };
  return ranges.size() > 1 && (ranges.back().end() > last_block(size) ||
                               std::ranges::adjacent_find(ranges, goes_back) != ranges.end());
}

}  // namespace

base::Task<void> Blobs::serve(http::Exchange& exchange, Routing::Destination from,
                              std::string digest_text, size_t max_requests) {
  const std::optional<oci::Digest> digest = oci::Digest::parse(digest_text);
  if (!digest) throw oci::Error(oci::ErrorCode::digest_invalid, "not a sha256 or sha512 digest");

  std::shared_ptr<const cache::Blob> blob = store_.hot(*digest);
  if (!blob && store_.may_hold(*digest)) {
    blob = co_await pool_.run([&] { return try_open(store_, *digest); });
  }
  BlobName name{from.upstream, from.repository, *digest,
                exchange.request.headers.joined("CDN-Loop")};
  if (blob) {
    co_await serve_hit(exchange, std::move(name), std::move(blob));
    co_return;
  }
  const Miss miss(misses_);
  if (miss.position() > max_requests - max_requests / kHitsPart) {
    co_await serve_ending(exchange, std::move(name), {Outcome::busy, "too many misses", "1"});
  } else if (exchange.request.is("HEAD")) {
    co_await serve_head(exchange, std::move(name));
  } else {
    co_await serve_miss(exchange, std::move(name));
  }
}

base::Task<void> Blobs::serve_hit(http::Exchange& exchange, BlobName name,
                                  std::shared_ptr<const cache::Blob> blob) {
  http::ContentInfo info = content(exchange.request, name.digest, blob->size(), "hit");
  const int64_t age = std::max<int64_t>(0, base::unix_now() - blob->stored_at());
  info.headers.set("Age", std::to_string(age));
  HitSource source(pool_, store_, fills_, std::move(name), std::move(blob));
  co_await http::serve_content(exchange, std::move(info), source);
}

// A HEAD never downloads the blob: its size comes from the fill under way or from the upstream.
base::Task<void> Blobs::serve_head(http::Exchange& exchange, BlobName name) {
  std::optional<uint64_t> size;
  if (const std::shared_ptr<Fill> fill = fills_.find(name.digest)) size = fill->progress.size();
  if (!size) {
    const base::TimePoint asked = now();
    std::variant<uint64_t, Ending> answer = co_await fills_.head(name);
    exchange.request.upstream_wait = now() - asked;
    if (auto* ending = std::get_if<Ending>(&answer)) {
      LOG_IF(WARNING, !is_no(ending->outcome))
          << "HEAD of " << name.digest.str() << " failed: " << ending->why;
      co_await serve_ending(exchange, name, std::move(*ending));
      co_return;
    }
    size = std::get<uint64_t>(answer);
  }
  // HEAD has no body, so nothing is ever read from this.
  http::FileSource nothing(-1);
  co_await http::serve_content(
      exchange, content(exchange.request, name.digest, *size, "fwd=uri-miss"), nothing);
}

base::Task<void> Blobs::serve_miss(http::Exchange& exchange, BlobName name) {
  const base::TimePoint asked = now();
  while (true) {
    const bool by_ranges = exchange.request.headers.has("Range");
    const Fills::Joined joined = fills_.join(name, by_ranges);
    if (!joined.started) base::fault_point("blob.joined");
    const std::shared_ptr<Fill> fill = joined.fill;
    const std::expected<uint64_t, Ending> size = co_await fill->size(name);

    http::ByteRange part{};
    if (size) {
      part = first_part(exchange.request, *size);
      // Of an empty blob the head is all there is, so it waits for the digest.
      const base::TimePoint deadline =
          *size == 0 ? base::kForever : base::EventLoop::current()->after(kHeadDelay);
      co_await fill->readable(part.first, part.end(), deadline);
    }
    FillSource source(fills_, joined);
    Ending ending = size ? fill->progress.ending() : size.error();
    bool passes = size && passes_through(ending.outcome) && !fill->given;
    if (passes) {
      // RFC 9110 §14.2: a server may ignore it.
      if (are_passed_as_whole(exchange.request, *size)) {
        exchange.request.headers.remove("Range");
        part = {0, *size};
      }
      // An upstream that says no now is answered with an error; after the head it would be a reset.
      std::optional<Ending> failed = co_await source.open_past_store(part.first, part.length);
      passes = !failed;
      if (failed) ending = std::move(*failed);
      LOG_IF(WARNING, !passes && ending.outcome != Outcome::absent)
          << name.digest.str() << " could not be passed through: " << ending.why;
    }
    exchange.request.upstream_wait = now() - asked;
    const bool good = ending.outcome == Outcome::filling || ending.outcome == Outcome::verified;
    if (size && (good || passes)) {
      std::string status = "fwd=uri-miss";
      if (!passes) status += joined.started ? "; stored" : "; collapsed";
      co_await http::serve_content(exchange, content(exchange.request, name.digest, *size, status),
                                   source);
      co_return;
    }
    if (Fills::another_may_do(*fill, ending, name)) continue;
    co_await serve_ending(exchange, name, ending);
    co_return;
  }
}

base::Task<void> Blobs::serve_ending(http::Exchange& exchange, BlobName name, Ending ending) {
  const ErrorAnswer answer = blob_error(ending.outcome);
  http::Response response = error_response(
      name_, answer.status,
      oci::error_json({{answer.code, oci::detail_string(std::string(answer.detail) + ": " +
                                                        name.digest.str())}}));
  response.headers.set("Cache-Status", name_ + "; fwd=uri-miss");
  if (!ending.retry_after.empty()) response.headers.set("Retry-After", ending.retry_after);
  co_await exchange.response.send(std::move(response));
}

http::ContentInfo Blobs::content(const http::Request& request, const oci::Digest& digest,
                                 uint64_t size, const std::string& cache_status) const {
  http::Headers each = content_fields(name_, request, cache_status);
  http::ContentInfo info{.size = size,
                         .etag = "\"" + digest.str() + "\"",
                         .headers = each,
                         .unsatisfiable = std::move(each)};
  info.headers.set("Content-Type", "application/octet-stream");
  info.headers.set("Docker-Content-Digest", digest.str());
  info.headers.set("Cache-Control", cache_control(request, true));
  info.unsatisfiable.set("Cache-Control", "no-store");
  return info;
}

}  // namespace proxy

#include "proxy/upstream_client.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "proxy/attempts.h"

namespace proxy {
namespace {

// What a transfer must have given, or promise unless less is wanted, to be worth its connection.
constexpr uint64_t kWorthwhile = 64 << 10;

// How long a transfer whose bytes are all there may keep its slot and its connection until it ends:
// longer is not worth the connection.
constexpr auto kMostToEnd = std::chrono::seconds(1);

struct ContentRange {
  uint64_t first;
  uint64_t last;
  uint64_t size;
};

// "bytes 0-99/1234" exactly; an unknown size ("*") is of no use here.
std::optional<ContentRange> parse_content_range(std::string_view text) {
  ContentRange range{};
  const auto number = [&text](uint64_t& value, std::string_view after) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (!text.starts_with(after)) return false;
    text.remove_prefix(after.size());
    return true;
  };
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  if (!number(range.first, "-") || !number(range.last, "/") || !number(range.size, "")) {
    return std::nullopt;
  }
  if (!text.empty() || range.last < range.first || range.last >= range.size) return std::nullopt;
  return range;
}

// What an answer that is neither a success nor a server error means for the blob.
Ending refusal(const std::string& url, int status) {
  Ending ending{Outcome::unreachable, url + ": status " + std::to_string(status), ""};
  if (status == 404 || status == 410) {
    ending.outcome = Outcome::absent;
  } else if (status == 400 || status == 401 || status == 403 || status == 414 || status == 451) {
    ending.outcome = Outcome::refused;
  } else if (status == 416) {
    // We only ask for bytes inside the blob, so its size is not what another answer said.
    ending.outcome = Outcome::digest_mismatch;
  }
  return ending;
}

// Why a 200 or 206 cannot be blob bytes, or empty.
std::string not_blob_bytes(const http::ClientResponse& response) {
  const auto coding = response.headers().get("Content-Encoding");
  if (coding && !http::iequals(*coding, "identity")) {
    return "the blob came with Content-Encoding " + std::string(*coding);
  }
  const auto type = response.headers().get("Content-Type");
  if (type && type->starts_with("text/html")) return "a web page came instead of the blob";
  return "";
}

std::string blob_target(const BlobName& name) {
  return "/v2/" + name.repository + "/blobs/" + name.digest.str();
}

http::Headers blob_headers(const BlobName& name) {
  http::Headers headers;
  if (!name.cdn_loop.empty()) headers.set("CDN-Loop", name.cdn_loop);
  return headers;
}

}  // namespace

bool Transfer::worthwhile() const { return given_ >= kWorthwhile; }

base::Task<std::string_view> Transfer::read() {
  std::string_view bytes = co_await receive();
  while (skip_ > 0) {
    const uint64_t skipped = std::min<uint64_t>(skip_, bytes.size());
    skip_ -= skipped;
    bytes.remove_prefix(skipped);
    if (bytes.empty()) bytes = co_await receive();
  }
  given_ += bytes.size();
  if (!succeeded_ && (given_ >= span_.size() || worthwhile())) {
    succeeded_ = true;
    upstream_->health().succeeded(url_);
  }
  co_return bytes;
}

base::Task<void> Transfer::wait_for_end() { co_await reply_.response->wait_for_end(kMostToEnd); }

// What comes next, bytes of its span or not.
base::Task<std::string_view> Transfer::receive() {
  std::string_view bytes;
  std::optional<http::TransferError> error;
  try {
    bytes = co_await reply_.response->read();
  } catch (const http::TransferError& e) {
    error = e;
  }
  if (!error && bytes.empty() && (skip_ > 0 || given_ < span_.size())) {
    error.emplace(http::TransferError::Kind::broken, "the body ended early");
  }
  if (error) {
    requests_->failed(url_, failure_of(*error), error->what());
    throw http::TransferError(*error);
  }
  upstream_->health().received(url_, bytes.size());
  co_return bytes;
}

// Bytes [begin, end) of a blob, `end` nullopt meaning to its end; its size, once known.
struct UpstreamClient::Wanted {
  uint64_t begin;
  std::optional<uint64_t> end;
  std::optional<uint64_t> size;

  bool to_the_end() const { return !end || end == size; }
  bool whole() const { return begin == 0 && to_the_end(); }
};

// What an answer says that it brings.
struct UpstreamClient::Part {
  uint64_t begin = 0;
  std::optional<uint64_t> end;  // nullopt: the blob's
  std::optional<uint64_t> blob_size;
};

base::Task<std::variant<Transfer, Ending>> UpstreamClient::get(size_t url, BlobName name,
                                                               uint64_t begin,
                                                               std::optional<uint64_t> end,
                                                               std::optional<uint64_t> size,
                                                               bool resumes) {
  const Wanted wanted{begin, end, size};
  http::Headers headers = blob_headers(name);
  if (!wanted.whole()) {
    // Without If-Range, for which servers with another ETag, or none, ignore the range (RFC 9110
    // §13.1.5). The size in Content-Range and the digest show what the bytes are.
    const std::string last = wanted.to_the_end() ? "" : std::to_string(*end - 1);
    headers.set("Range", "bytes=" + std::to_string(begin) + "-" + last);
  }
  std::variant<Reply, Ending> sent =
      co_await requests_.send(url, "GET", blob_target(name), std::move(headers), resumes);
  if (auto* ending = std::get_if<Ending>(&sent)) co_return std::move(*ending);
  Reply& reply = std::get<Reply>(sent);
  std::expected<Part, Ending> part = part_of(url, *reply.response, wanted);
  if (!part) co_return std::move(part.error());

  // A body of unknown length: whether it is the blob's will be seen.
  const std::optional<uint64_t> blob_size = part->blob_size ? part->blob_size : size;
  if (!blob_size) {
    // This answer gives way, slot and connection: those who hold one must not wait for another.
    sent = Ending();
    std::variant<uint64_t, Ending> asked = co_await size_of(url, name);
    if (auto* ending = std::get_if<Ending>(&asked)) co_return std::move(*ending);
    co_return co_await get(url, std::move(name), begin, end, std::get<uint64_t>(asked), resumes);
  }
  if (size && *blob_size != *size) co_return another_size(url, name.digest, *size, *blob_size);
  co_return Transfer(requests_, upstream_, url, std::move(reply), *blob_size,
                     {begin, part->end.value_or(*blob_size)}, begin - part->begin);
}

// Of an answer that cannot be used an Ending, and the upstream's health is told of it.
std::expected<UpstreamClient::Part, Ending> UpstreamClient::part_of(
    size_t url, const http::ClientResponse& response, const Wanted& wanted) {
  const int status = response.status();
  if (status != 200 && status != 206) {
    Ending no = refusal(upstream_.config().urls[url], status);
    if (no.outcome == Outcome::unreachable) {
      return std::unexpected(requests_.failed(url, Failure::broken, no.why));
    }
    upstream_.health().succeeded(url);
    return std::unexpected(std::move(no));
  }
  if (const std::string why = not_blob_bytes(response); !why.empty()) {
    return std::unexpected(requests_.failed(url, Failure::broken, why));
  }
  if (status == 206) return ranged_part(url, response, wanted);
  return Part{.blob_size = response.content_length()};
}

std::expected<UpstreamClient::Part, Ending> UpstreamClient::ranged_part(
    size_t url, const http::ClientResponse& response, const Wanted& wanted) {
  const auto field = response.headers().get("Content-Range");
  const std::optional<ContentRange> range = parse_content_range(field.value_or(""));
  if (wanted.whole() || !range || range->first != wanted.begin ||
      (wanted.end && range->last + 1 > *wanted.end)) {
    return std::unexpected(requests_.failed(
        url, Failure::broken, "status 206 with a Content-Range that was not asked for"));
  }
  const Part part{range->first, range->last + 1, range->size};
  const uint64_t most = std::min(wanted.end.value_or(range->size), range->size) - wanted.begin;
  if (*part.end - part.begin < std::min(most, kWorthwhile)) {
    return std::unexpected(requests_.failed(url, Failure::broken, "a part too small to be of use"));
  }
  return part;
}

Ending UpstreamClient::another_size(size_t url, const oci::Digest& digest, uint64_t before,
                                    uint64_t now) {
  upstream_.suspect(digest, UrlSet{1} << url, requests_.loop().now());
  Ending ending = requests_.failed(
      url, Failure::wrong_bytes,
      "the blob's size was " + std::to_string(before) + " and is now " + std::to_string(now));
  ending.outcome = Outcome::digest_mismatch;
  return ending;
}

base::Task<std::variant<uint64_t, Ending>> UpstreamClient::size_of(size_t url, BlobName name) {
  std::variant<Reply, Ending> sent =
      co_await requests_.send(url, "HEAD", blob_target(name), blob_headers(name));
  if (auto* ending = std::get_if<Ending>(&sent)) co_return std::move(*ending);
  const http::ClientResponse& response = *std::get<Reply>(sent).response;
  if (response.status() != 200) {
    Ending no = refusal(upstream_.config().urls[url], response.status());
    if (no.outcome != Outcome::unreachable) upstream_.health().succeeded(url);
    co_return no;
  }
  std::string why = not_blob_bytes(response);
  const std::optional<uint64_t> length = response.content_length();
  if (why.empty() && !length) why = "HEAD came without Content-Length";
  if (!why.empty()) co_return requests_.failed(url, Failure::broken, why);
  upstream_.health().succeeded(url);
  co_return *length;
}

base::Task<std::variant<uint64_t, Ending>> UpstreamClient::head(BlobName name) {
  Attempts attempts(upstream_, 1, &name.digest);
  while (true) {
    std::variant<Attempts::Next, Ending> next = attempts.next(requests_.loop().now());
    if (auto* ending = std::get_if<Ending>(&next)) co_return std::move(*ending);
    std::variant<uint64_t, Ending> size =
        co_await size_of(std::get<Attempts::Next>(next).url, name);
    if (std::holds_alternative<uint64_t>(size)) co_return size;
    attempts.failed(std::get<Ending>(std::move(size)));
  }
}

base::Task<std::variant<Answer, Ending>> UpstreamClient::fetch(std::string method,
                                                               std::string target,
                                                               http::Headers headers,
                                                               uint64_t limit) {
  Attempts attempts(upstream_, 1);
  while (true) {
    std::variant<Attempts::Next, Ending> next = attempts.next(requests_.loop().now());
    if (auto* ending = std::get_if<Ending>(&next)) co_return std::move(*ending);
    const size_t url = std::get<Attempts::Next>(next).url;
    std::variant<Reply, Ending> sent = co_await requests_.send(url, method, target, headers);
    if (auto* ending = std::get_if<Ending>(&sent)) {
      attempts.failed(std::move(*ending));
      continue;
    }
    http::ClientResponse& response = *std::get<Reply>(sent).response;
    Answer answer{upstream_.config().urls[url], response.status(), response.headers(), ""};
    std::optional<http::TransferError> error;
    try {
      while (answer.body.size() <= limit) {
        const std::string_view bytes = co_await response.read();
        if (bytes.empty()) break;
        upstream_.health().received(url, bytes.size());
        answer.body += bytes;
      }
    } catch (const http::TransferError& e) {
      error = e;
    }
    if (error) {
      attempts.failed(requests_.failed(url, failure_of(*error), error->what()));
      continue;
    }
    upstream_.health().succeeded(url);
    if (answer.body.size() <= limit) co_return answer;
    // Clients ask for lists as long as they like.
    co_return Ending{Outcome::too_large,
                     answer.url + ": an answer of more than " + std::to_string(limit) + " bytes",
                     ""};
  }
}

base::Task<void> UpstreamClient::check_health() {
  using HealthCheck = UpstreamConfig::HealthCheck;
  const UpstreamConfig& config = upstream_.config();
  for (size_t url = 0; url < config.urls.size(); ++url) {
    const bool wanted = config.health_check == HealthCheck::always ||
                        upstream_.health().ejected(url, requests_.loop().now());
    if (wanted) co_await requests_.check(url);
  }
}

}  // namespace proxy

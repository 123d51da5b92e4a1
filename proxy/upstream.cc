#include "proxy/upstream.h"

#include <charconv>

namespace proxy {
namespace {

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

Ending unusable(const std::string& url, const std::string& why) {
  return {Outcome::unreachable, url + ": " + why, ""};
}

// What a status other than 200 and 206 means for the blob.
Ending refusal(const std::string& url, const http::ClientResponse& response) {
  const int status = response.status();
  Ending ending = unusable(url, "status " + std::to_string(status));
  if (status == 404 || status == 410) {
    ending.outcome = Outcome::absent;
  } else if (status == 401 || status == 403) {
    ending.outcome = Outcome::refused;
  } else if (status == 416) {
    // We only ask for bytes inside the blob, so its size is not what another answer said.
    ending.outcome = Outcome::digest_mismatch;
  } else if (status == 429) {
    ending.outcome = Outcome::throttled;
  } else if (status >= 300 && status < 400) {
    ending.why += " (a redirect: the origin does not know this edge, see redirect.except there)";
  }
  if (const auto retry_after = response.headers().get("Retry-After")) {
    ending.retry_after = *retry_after;
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

}  // namespace

http::ClientRequest UpstreamClient::request(size_t url, const std::string& target,
                                            std::string method) const {
  const UpstreamConfig& config = upstream_->config();
  http::ClientRequest request;
  request.method = std::move(method);
  request.url = config.urls[url] + target;
  request.headers.set("Via", "1.1 " + edge_);
  if (!config.bearer.empty()) request.headers.set("Authorization", "Bearer " + config.bearer);
  return request;
}

http::ClientRequest UpstreamClient::request(size_t url, const BlobName& name,
                                            std::string method) const {
  return request(url, "/v2/" + name.repository + "/blobs/" + name.digest.str(), std::move(method));
}

base::Task<std::variant<Transfer, Ending>> UpstreamClient::get(size_t url, BlobName name,
                                                               uint64_t begin,
                                                               std::optional<uint64_t> end,
                                                               std::optional<uint64_t> size) {
  http::ClientRequest ask = request(url, name, "GET");
  const std::string where = upstream_->config().urls[url];
  const bool ranged = begin != 0 || (end && end != size);
  if (ranged) {
    const std::string last = end && end != size ? std::to_string(*end - 1) : "";
    ask.headers.set("Range", "bytes=" + std::to_string(begin) + "-" + last);
    ask.headers.set("If-Range", "\"" + name.digest.str() + "\"");
  }

  std::unique_ptr<http::ClientResponse> response;
  std::string failure;
  try {
    response = co_await client_.fetch(std::move(ask));
  } catch (const http::TransferError& e) {
    failure = e.what();
  }
  if (!response) co_return unusable(where, failure);

  const int status = response->status();
  if (status != 200 && status != 206) co_return refusal(where, *response);
  if (const std::string why = not_blob_bytes(*response); !why.empty()) {
    co_return unusable(where, why);
  }

  Transfer transfer;
  if (status == 206) {
    const auto field = response->headers().get("Content-Range");
    const auto range = parse_content_range(field.value_or(""));
    if (!ranged || !range || range->first != begin || (end && range->last + 1 > *end)) {
      co_return unusable(where, "status 206 with a Content-Range that was not asked for");
    }
    transfer.blob_size = range->size;
  } else {
    const std::optional<uint64_t> length = response->content_length();
    if (!length) co_return unusable(where, "the blob came without Content-Length");
    transfer.blob_size = *length;
    transfer.skip = begin;
  }
  if (size && transfer.blob_size != *size) {
    co_return Ending{Outcome::digest_mismatch,
                     where + ": the blob's size was " + std::to_string(*size) + " and is now " +
                         std::to_string(transfer.blob_size),
                     ""};
  }
  transfer.response = std::move(response);
  co_return transfer;
}

base::Task<std::variant<uint64_t, Ending>> UpstreamClient::head(size_t url, BlobName name) {
  const std::string where = upstream_->config().urls[url];
  std::unique_ptr<http::ClientResponse> response;
  std::string failure;
  try {
    response = co_await client_.fetch(request(url, name, "HEAD"));
  } catch (const http::TransferError& e) {
    failure = e.what();
  }
  if (!response) co_return unusable(where, failure);
  if (response->status() != 200) co_return refusal(where, *response);
  if (const std::string why = not_blob_bytes(*response); !why.empty()) {
    co_return unusable(where, why);
  }
  const std::optional<uint64_t> length = response->content_length();
  if (!length) co_return unusable(where, "HEAD came without Content-Length");
  co_return *length;
}

base::Task<std::variant<Answer, Ending>> UpstreamClient::fetch(std::string method,
                                                               std::string target,
                                                               http::Headers headers,
                                                               uint64_t limit) {
  const std::vector<std::string>& urls = upstream_->config().urls;
  Ending last;
  for (size_t url = 0; url < urls.size(); ++url) {
    http::ClientRequest ask = request(url, target, method);
    for (const auto& field : headers) ask.headers.add(field.name, field.value);
    std::string failure;
    try {
      const std::unique_ptr<http::ClientResponse> response = co_await client_.fetch(std::move(ask));
      Answer answer{urls[url], response->status(), response->headers(), ""};
      if (answer.status >= 500 || answer.status == 429) {
        last = refusal(urls[url], *response);
        continue;
      }
      while (true) {
        const std::string_view bytes = co_await response->read();
        if (bytes.empty()) co_return answer;
        answer.body += bytes;
        if (answer.body.size() > limit) break;
      }
      failure = "an answer of more than " + std::to_string(limit) + " bytes";
    } catch (const http::TransferError& e) {
      failure = e.what();
    }
    last = unusable(urls[url], failure);
  }
  co_return last;
}

}  // namespace proxy

#include "http/content.h"

#include <algorithm>
#include <vector>

#include "base/random.h"
#include "http/message.h"
#include "http/range.h"

namespace http {
namespace {

// RFC 9110 §13.1.2: any of the listed tags, compared weakly, or "*".
bool none_match_hits(const Headers& headers, std::string_view etag) {
  const std::string field = headers.joined("If-None-Match");
  std::string_view rest = field;
  while (!rest.empty()) {
    rest = trim(rest);
    if (rest.starts_with('*')) return true;
    if (rest.starts_with("W/")) rest.remove_prefix(2);
    // A quoted tag may contain commas.
    const size_t quote = rest.starts_with('"') ? rest.find('"', 1) : std::string_view::npos;
    const size_t end =
        quote != std::string_view::npos ? quote + 1 : std::min(rest.find(','), rest.size());
    if (trim(rest.substr(0, end)) == etag) return true;
    rest.remove_prefix(std::min(rest.find(',', end), rest.size()));
    if (!rest.empty()) rest.remove_prefix(1);
  }
  return false;
}

RangeSelection select(const Request& request, const ContentInfo& info) {
  const std::optional<std::string_view> range = request.headers.get("Range");
  if (!range) return {};
  // RFC 9110 §13.1.5: strong comparison. No date is ever sent, so a date cannot match.
  const std::optional<std::string_view> condition = request.headers.get("If-Range");
  if (condition && trim(*condition) != info.etag) return {};
  return parse_range(*range, info.size);
}

base::Task<void> send_multipart(Exchange& exchange, const ContentInfo& info,
                                const std::vector<ByteRange>& ranges, Headers headers,
                                ContentSource& source) {
  // Random, so that nobody can push content that contains it (RFC 2046 §5.1.1).
  const std::string boundary = "entrepot" + std::to_string(base::random_number());
  const std::string type(info.headers.get("Content-Type").value_or("application/octet-stream"));
  std::vector<std::string> part_heads;
  uint64_t length = 0;
  for (const ByteRange& range : ranges) {
    std::string head = part_heads.empty() ? "--" : "\r\n--";
    head += boundary;
    head += "\r\nContent-Type: ";
    head += type;
    head += "\r\nContent-Range: ";
    head += content_range(range, info.size);
    head += "\r\n\r\n";
    part_heads.push_back(std::move(head));
    length += part_heads.back().size() + range.length;
  }
  const std::string end = "\r\n--" + boundary + "--\r\n";
  length += end.size();

  headers.set("Content-Type", "multipart/byteranges; boundary=" + boundary);
  co_await exchange.response.begin(206, std::move(headers), length);
  if (!exchange.request.is("HEAD")) {
    for (size_t i = 0; i < ranges.size(); ++i) {
      co_await exchange.response.write(part_heads[i]);
      co_await source.send(exchange.response, ranges[i].first, ranges[i].length);
    }
    co_await exchange.response.write(end);
  }
  co_await exchange.response.finish();
}

}  // namespace

base::Task<FileSent> send_file(ResponseWriter& response, int fd, uint64_t offset, uint64_t length) {
  const uint64_t before = response.body_bytes();
  FileSent sent{.bytes = length, .error = ""};
  try {
    co_await response.write_file(fd, offset, length);
  } catch (const FileError& e) {
    sent = {response.body_bytes() - before, e.what()};
  }
  co_return sent;
}

base::Task<void> FileSource::send(ResponseWriter& response, uint64_t offset, uint64_t length) {
  co_await response.write_file(fd_, offset, length);
}

base::Task<void> BytesSource::send(ResponseWriter& response, uint64_t offset, uint64_t length) {
  co_await response.write(bytes_.substr(offset, length));
}

bool range_unsatisfiable(const Request& request, const ContentInfo& info) {
  return !none_match_hits(request.headers, info.etag) &&
         select(request, info).kind == RangeSelection::Kind::unsatisfiable;
}

base::Task<void> serve_content(Exchange& exchange, ContentInfo info, ContentSource& source) {
  const Request& request = exchange.request;
  const RangeSelection selection = select(request, info);
  Headers headers = info.headers;
  headers.set("ETag", info.etag);
  headers.set("Accept-Ranges", "bytes");

  if (none_match_hits(request.headers, info.etag)) {
    Response not_modified{.status = 304, .headers = std::move(headers)};
    co_await exchange.response.send(std::move(not_modified));
    co_return;
  }
  if (selection.kind == RangeSelection::Kind::unsatisfiable) {
    Response refused{.status = 416, .headers = std::move(info.unsatisfiable)};
    refused.headers.set("Content-Range", "bytes */" + std::to_string(info.size));
    refused.headers.set("Accept-Ranges", "bytes");
    co_await exchange.response.send(std::move(refused));
    co_return;
  }
  if (selection.ranges.size() > 1) {
    co_await send_multipart(exchange, info, selection.ranges, std::move(headers), source);
    co_return;
  }

  const bool partial = selection.kind == RangeSelection::Kind::partial;
  const ByteRange range = partial ? selection.ranges[0] : ByteRange{0, info.size};
  if (partial) headers.set("Content-Range", content_range(range, info.size));
  co_await exchange.response.begin(partial ? 206 : 200, std::move(headers), range.length);
  if (!request.is("HEAD") && range.length > 0) {
    co_await source.send(exchange.response, range.first, range.length);
  }
  co_await exchange.response.finish();
}

}  // namespace http

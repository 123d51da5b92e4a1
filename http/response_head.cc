#include "http/response_head.h"

#include <algorithm>
#include <charconv>

namespace http {
namespace {

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

ResponseHead::Progress ResponseHead::take(std::string_view line) {
  bytes_ += line.size();
  if (bytes_ > kMaxBytes) return malformed("the response's head is too large");
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);

  // A folded line continues the field before it (RFC 9112 §5.2).
  if (!name_.empty() && (line.starts_with(' ') || line.starts_with('\t'))) {
    value_.append(" ").append(trim(line));
    return Progress::more;
  }
  if (!name_.empty()) headers_.add(name_, value_);
  name_.clear();

  if (status_ == 0) return take_status_line(line);
  if (!line.empty()) return take_field(line);
  if (status_ >= 200) return finish();
  status_ = 0;
  headers_ = {};
  return Progress::more;
}

ResponseHead::Progress ResponseHead::take_status_line(std::string_view line) {
  const size_t space = std::min(line.find(' '), line.size());
  const std::string_view code = line.substr(std::min(space + 1, line.size())).substr(0, 3);
  const std::optional<uint64_t> status = parse_number(code);
  if (!line.starts_with("HTTP/") || !status || *status < 100) {
    return malformed("malformed status line");
  }
  status_ = static_cast<int>(*status);
  return Progress::more;
}

ResponseHead::Progress ResponseHead::take_field(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos || colon == 0) return malformed("malformed response header");
  name_ = line.substr(0, colon);
  value_ = trim(line.substr(colon + 1));
  return Progress::more;
}

ResponseHead::Progress ResponseHead::finish() {
  if (headers_.has("Content-Length") && !headers_.has("Transfer-Encoding")) {
    // Joined, so that two lengths are no number (RFC 9112 §6.3).
    content_length_ = parse_number(headers_.joined("Content-Length"));
    if (!content_length_) return malformed("malformed Content-Length");
  }
  return Progress::complete;
}

ResponseHead::Progress ResponseHead::malformed(std::string_view why) {
  error_ = why;
  return Progress::malformed;
}

}  // namespace http

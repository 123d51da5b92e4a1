#include "http/request_parser.h"

// Beast 1.74 asserts that a last chunk comes in pieces of at least five bytes ("0\r\n" and then
// "\r" would end the process), although it copes with less. What it must not do is left to the
// guard and to the fuzzer.
#define BOOST_DISABLE_ASSERTS
#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <limits>

#include "base/ascii.h"
#include "http/body.h"
#include "http/request_target.h"

namespace http {
namespace {

namespace beast = boost::beast::http;
using boost::beast::error_code;
using boost::beast::string_view;

std::string_view view(string_view text) { return {text.data(), text.size()}; }

}  // namespace

// The library's parser with a guard around it. Beast 1.74 is strict about everything lexical but
// lets framing through that others read differently: a Transfer-Encoding it does not know, one in
// HTTP/1.0, repeated equal Content-Lengths, any number of Hosts, control bytes in chunk extensions.
class RequestParser::Guarded : public beast::basic_parser<true> {
 public:
  // Set while a head is being parsed.
  Request* request = nullptr;
  std::string target;
  std::string_view part;  // body bytes that the last put() found

  // What the framing fields amount to; StatusError if they are ambiguous.
  void check_framing() const {
    if (transfer_encodings_ > 0) {
      if (request->version == Version::http1_0)
        throw StatusError(400, "Transfer-Encoding in HTTP/1.0");
      if (content_lengths_ > 0) {
        throw StatusError(400, "both Transfer-Encoding and Content-Length");
      }
      if (transfer_encodings_ > 1) throw StatusError(400, "more than one Transfer-Encoding");
      if (!iequals(*request->headers.get("Transfer-Encoding"), "chunked")) {
        throw StatusError(501, "unknown Transfer-Encoding");
      }
    }
    if (hosts_ > 1) throw StatusError(400, "more than one Host");
    if (hosts_ == 0 && request->version != Version::http1_0) throw StatusError(400, "no Host");
  }

 private:
  void refuse(error_code& ec) const { ec = beast::error::bad_value; }

  void on_request_impl(beast::verb, string_view method, string_view uri, int version,
                       error_code&) override {
    request->method = view(method);
    request->version = version % 10 == 0 ? Version::http1_0 : Version::http1_1;
    target = view(uri);
  }

  void on_field_impl(beast::field name, string_view name_text, string_view value,
                     error_code& ec) override {
    if (request == nullptr) return;  // a trailer field
    const std::string_view text = view(value);
    switch (name) {
      case beast::field::content_length:
        if (++content_lengths_ > 1 || !std::all_of(text.begin(), text.end(), base::is_digit))
          refuse(ec);
        break;
      case beast::field::transfer_encoding:
        ++transfer_encodings_;
        break;
      case beast::field::host:
        ++hosts_;
        if (!is_valid_host(text)) refuse(ec);
        break;
      default:
        break;
    }
    if (request->headers.size() == kMaxFields) {
      ec = beast::error::header_limit;
      return;
    }
    request->headers.add(view(name_text), text);
  }

  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}

  size_t on_body_impl(string_view data, error_code&) override {
    part = view(data);
    return data.size();
  }

  void on_chunk_header_impl(std::uint64_t, string_view extension, error_code& ec) override {
    const std::string_view text = view(extension);
    if (std::any_of(text.begin(), text.end(), base::is_control)) refuse(ec);
  }

  size_t on_chunk_body_impl(std::uint64_t, string_view data, error_code&) override {
    part = view(data);
    return data.size();
  }

  void on_finish_impl(error_code&) override {}

  // Only for requests; the library asks for it all the same.
  void on_response_impl(int, string_view, int, error_code&) override {}

  int content_lengths_ = 0;
  int transfer_encodings_ = 0;
  int hosts_ = 0;
};

RequestParser::RequestParser(size_t max_header_bytes) : max_header_bytes_(max_header_bytes) {}
RequestParser::~RequestParser() = default;

void RequestParser::reset() {
  parser_.reset();
  scanned_ = 0;
}

namespace {

// Finds the end of the head in `bytes`, looking only at whole lines from `scanned` on. Returns its
// length, or 0 if it is not there yet. Refuses line ends and foldings that are read differently
// elsewhere before waiting for more.
size_t find_head_end(std::string_view bytes, size_t start, size_t& scanned) {
  while (true) {
    const size_t line = std::max(scanned, start);
    if (line < bytes.size() &&
        (line == start ? !is_token_char(bytes[line]) : bytes[line] == ' ' || bytes[line] == '\t')) {
      throw StatusError(400, line == start ? "the request line does not begin with a method"
                                           : "a folded header field");
    }
    const size_t newline = bytes.find('\n', line);
    const size_t line_end = newline == std::string_view::npos ? bytes.size() : newline;
    const size_t carriage_return = bytes.find('\r', line);
    // A '\r' that is the very last byte may yet be followed by its '\n'.
    if (carriage_return < line_end && carriage_return + 1 != line_end) {
      throw StatusError(400, "a carriage return inside a line");
    }
    if (newline == std::string_view::npos) return 0;
    if (carriage_return + 1 != newline) throw StatusError(400, "a line without carriage return");
    scanned = newline + 1;
    if (carriage_return == line) return scanned;
  }
}

// "GET / HTTP/2.0" deserves a better answer than 400.
bool is_other_version(std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\r'));
  const size_t at = line.rfind(" HTTP/");
  if (at == std::string_view::npos || line.size() != at + 9) return false;
  return base::is_digit(line[at + 6]) && line[at + 7] == '.' && base::is_digit(line[at + 8]) &&
         line[at + 6] != '1';
}

}  // namespace

size_t RequestParser::parse_head(std::string_view bytes, Request& request) {
  // RFC 9112 §2.2: an empty line before the request line is ignored; old clients send one after a
  // body.
  const size_t start = bytes.starts_with("\r\n") ? 2 : 0;
  if (bytes == "\r" || bytes.size() == start) return 0;
  const size_t end = find_head_end(bytes, start, scanned_);
  if (end > max_header_bytes_ || (end == 0 && bytes.size() >= max_header_bytes_)) {
    throw StatusError(431, "the request's head is too large");
  }
  if (end == 0) return 0;

  parser_ = std::make_unique<Guarded>();
  parser_->header_limit(static_cast<std::uint32_t>(max_header_bytes_));
  // boost::none would refuse every Content-Length in 1.74.
  parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
  parser_->request = &request;
  error_code ec;
  const size_t consumed = parser_->put({bytes.data() + start, end - start}, ec);
  if (ec == beast::error::header_limit) throw StatusError(431, "too many header fields");
  if (ec == beast::error::bad_version && is_other_version(bytes.substr(start))) {
    throw StatusError(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  }
  if (ec || !parser_->is_header_done() || start + consumed != end) {
    throw StatusError(400, ec ? "malformed request: " + ec.message() : "malformed request");
  }
  parser_->check_framing();
  set_target(parser_->target, request);
  parser_->request = nullptr;
  return end;
}

bool RequestParser::keep_alive() const { return parser_->keep_alive(); }

std::optional<uint64_t> RequestParser::content_length() const {
  if (parser_->chunked()) return std::nullopt;
  return parser_->content_length().value_or(0);
}

RequestParser::BodyPart RequestParser::parse_body(std::string_view bytes) {
  if (bytes.empty() || done()) return {};
  parser_->part = {};
  error_code ec;
  const size_t consumed = parser_->put({bytes.data(), bytes.size()}, ec);
  if (ec == beast::error::need_more) {
    // Only a chunk's header line or the trailer section can be incomplete.
    if (bytes.size() - consumed > max_header_bytes_) {
      throw StatusError(400, "a chunk header or trailer section is too large");
    }
  } else if (ec) {
    throw StatusError(400, "malformed request body: " + ec.message());
  }
  return {consumed, parser_->part};
}

bool RequestParser::done() const { return parser_ && parser_->is_done(); }

}  // namespace http

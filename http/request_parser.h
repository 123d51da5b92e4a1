// Parses HTTP/1.1 requests (RFC 9112), strictly: whatever two implementations could read in two
// ways is refused, because that is how requests are smuggled. The only unit that sees the parser
// library.
//
// One parser serves a connection, request after request; it keeps no bytes, so the caller presents
// what it has not yet consumed again. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "http/message.h"

namespace http {

class RequestParser {
 public:
  explicit RequestParser(size_t max_header_bytes);
  ~RequestParser();

  // Begins the next request.
  void reset();

  // `bytes` is everything received from the request's first byte on. Returns the length of the head
  // once it is complete, having filled the request (but for its peer); 0 if more is needed.
  // StatusError (400, 405, 421, 431, 501, 505) if it must be refused: the connection cannot go on
  // then, since nobody knows where the next request begins.
  size_t parse_head(std::string_view bytes, Request& request);

  // Of the head just parsed. Whether the client allows a next request on the connection.
  bool keep_alive() const;
  // The body's length, 0 without a body; nullopt if it is chunked.
  std::optional<uint64_t> content_length() const;

  struct BodyPart {
    size_t consumed = 0;    // bytes of input that are done with
    std::string_view data;  // body bytes among them
  };
  // Takes the next part of the body from the front of `bytes`. Nothing consumed: more is needed.
  // StatusError(400) if the chunked coding is broken. Trailer fields are checked and dropped.
  BodyPart parse_body(std::string_view bytes);
  // True when the head and the whole body have been consumed.
  bool done() const;

 private:
  class Guarded;
  const size_t max_header_bytes_;
  size_t scanned_ = 0;  // head bytes already known to be clean
  std::unique_ptr<Guarded> parser_;
};

}  // namespace http

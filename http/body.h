// What a handler reads a request body from and writes its response to. A handler is one coroutine
// on the connection's loop; both objects live as long as the exchange.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/task.h"
#include "http/message.h"

namespace http {

// The peer is gone, too slow or breaks the protocol; the connection will be closed. Thrown out of
// reads and writes; a handler lets it pass.
class ConnectionError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The request cannot be served for an HTTP reason (408, 413, 431, …).
class StatusError : public std::runtime_error {
 public:
  StatusError(int status, const std::string& why) : std::runtime_error(why), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

// A file that is being sent cannot be read: its disk fails, or it is shorter than promised. What
// ResponseWriter::body_bytes() counts was sent, so that a handler can send the rest from elsewhere.
class FileError : public base::IoError {
 public:
  using base::IoError::IoError;
};

class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next block of the body, at most 1 MiB, valid until the next call; empty at its end. The
  // first call sends "100 Continue" if the client expects it. ConnectionError if the body breaks
  // off, StatusError(408) if it stalls.
  virtual base::Task<std::string_view> read() = 0;
  // Content-Length, 0 without a body; nullopt for a chunked body.
  virtual std::optional<uint64_t> length() const = 0;
};

class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  // The whole response. Content-Length is added; for HEAD and 304 the body is left out but counted.
  virtual base::Task<void> send(Response response) = 0;

  // Or in parts: begin, any number of writes, finish. Without a length the body is chunked (or ends
  // with the connection for HTTP/1.0). For HEAD, writes are ignored.
  virtual base::Task<void> begin(int status, Headers headers, std::optional<uint64_t> length) = 0;
  virtual base::Task<void> write(std::string_view data) = 0;
  // Bytes of a file: sendfile where the transport allows, never more than 2 MiB per loop turn;
  // pages that are not in memory are read on the pool first. FileError; without a length, a
  // ConnectionError instead.
  virtual base::Task<void> write_file(int fd, uint64_t offset, uint64_t length) = 0;
  // Completes the message. A handler that returns without it, or with bytes missing, gets the
  // connection reset, so that no client takes a cut body for a whole one.
  virtual base::Task<void> finish() = 0;

  // Whether the client is known to have left: for handlers that work long before they write. One
  // that has only ended its own side counts too, as nobody can tell the two apart.
  virtual bool client_left() const = 0;

  virtual bool started() const = 0;
  // Body bytes accepted so far; for the access log.
  virtual uint64_t body_bytes() const = 0;
  virtual int status() const = 0;  // 0 before begin
};

struct Exchange {
  Request& request;
  BodyReader& body;
  ResponseWriter& response;
};

// One request. What it throws before the response has started becomes an error response (see
// ServerOptions::on_error), after that a reset connection.
using Handler = std::function<base::Task<void>(Exchange&)>;

}  // namespace http

// Serving an immutable representation: HEAD, conditional requests (RFC 9110 §13) and single or
// multiple ranges (§14), from any source of bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/task.h"
#include "http/body.h"

namespace http {

// Where the bytes come from. Each call writes exactly that part to the response, in order, or
// throws.
class ContentSource {
 public:
  virtual ~ContentSource() = default;
  virtual base::Task<void> send(ResponseWriter& response, uint64_t offset, uint64_t length) = 0;
};

// ResponseWriter::write_file for a source that can send the rest from elsewhere.
struct FileSent {
  uint64_t bytes = 0;
  std::string error;  // why the file cannot be read; empty: all was sent
};
base::Task<FileSent> send_file(ResponseWriter& response, int fd, uint64_t offset, uint64_t length);

// A file that is all there. Does not own the descriptor.
class FileSource : public ContentSource {
 public:
  explicit FileSource(int fd) : fd_(fd) {}
  base::Task<void> send(ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  int fd_;
};

// Bytes that are all there. Does not own them.
class BytesSource : public ContentSource {
 public:
  explicit BytesSource(std::string_view bytes) : bytes_(bytes) {}
  base::Task<void> send(ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  std::string_view bytes_;
};

struct ContentInfo {
  uint64_t size = 0;
  std::string etag;  // quoted, strong
  Headers headers;   // sent with 200, 206 and 304: Content-Type, Cache-Control, …
  // Sent with 416: nothing of the representation's own, a cache must not take this for it.
  Headers unsatisfiable;
};

// Whether serve_content answers 416: a Range that asks for nothing that is there.
bool range_unsatisfiable(const Request& request, const ContentInfo& info);

// Answers GET and HEAD: 200, 206 (Content-Range or multipart/byteranges), 304 with ETag and the
// given headers, 412 never, 416 with an empty body and "Content-Range: bytes */<size>". Evaluates
// If-None-Match, If-Match is ignored, If-Range. Adds ETag, Accept-Ranges.
base::Task<void> serve_content(Exchange& exchange, ContentInfo info, ContentSource& source);

}  // namespace http

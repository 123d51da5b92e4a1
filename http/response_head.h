// ResponseHead: the head of a response as a client receives it, line by line (RFC 9112 §4, §5).
// Interim responses (1xx) are skipped. A plain value, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace http {

class ResponseHead {
 public:
  // All heads of one exchange together, interim ones included.
  static constexpr size_t kMaxBytes = 64 << 10;

  enum class Progress { more, complete, malformed };

  // Takes the next line, with or without its line end. Not to be called after `complete` or
  // `malformed`.
  Progress take(std::string_view line);

  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  // Content-Length, if it is what frames the body.
  std::optional<uint64_t> content_length() const { return content_length_; }
  // Why the head is malformed.
  const std::string& error() const { return error_; }

 private:
  Progress malformed(std::string_view why);
  Progress take_status_line(std::string_view line);
  Progress take_field(std::string_view line);
  Progress finish();

  int status_ = 0;
  Headers headers_;
  std::string name_;  // of the field in progress, which a folded line may continue
  std::string value_;
  std::optional<uint64_t> content_length_;
  size_t bytes_ = 0;
  std::string error_;
};

}  // namespace http

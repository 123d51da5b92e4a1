// What the response of every version of HTTP keeps: its head, and the count of what was promised.
#pragma once

#include "http/body.h"

namespace http {

class ServerResponse : public ResponseWriter {
 public:
  bool started() const override { return status_ != 0; }
  uint64_t body_bytes() const override { return body_bytes_; }
  int status() const override { return status_; }

  const Headers& headers() const { return headers_; }
  // True if the client has the whole message.
  bool complete() const { return complete_; }

 protected:
  // The Date field's value, made once a second (per loop thread).
  static std::string_view current_date();
  // A line end in a field would let whoever chose its value write the response (CWE-113).
  static std::string field_text(std::string_view text);
  // Fields that say how the message is framed are the response's own business.
  static bool is_framing_field(std::string_view name);

  int status_ = 0;
  Headers headers_;
  uint64_t left_ = 0;  // of the promised length
  uint64_t body_bytes_ = 0;
  bool complete_ = false;
};

}  // namespace http

// The response of one HTTP/1.1 exchange: head, framing and the count of what was promised.
#pragma once

#include "http/body.h"
#include "http/http1_body.h"
#include "http/transport.h"

namespace http {

class Http1Response : public ResponseWriter {
 public:
  // `keep_alive` is the connection's: read when the response begins, cleared if the response cannot
  // be followed by another. `body` is the request's, nullptr if its head was refused. All must
  // outlive the response.
  Http1Response(base::ThreadPool& pool, Transport& transport, Http1Body* body,
                const Request& request, bool& keep_alive)
      : pool_(pool),
        transport_(transport),
        body_(body),
        request_(request),
        keep_alive_(keep_alive) {}

  base::Task<void> send(Response response) override;
  base::Task<void> begin(int status, Headers headers, std::optional<uint64_t> length) override;
  base::Task<void> write(std::string_view data) override;
  base::Task<void> write_file(int fd, uint64_t offset, uint64_t length) override;
  base::Task<void> finish() override;

  bool started() const override { return status_ != 0; }
  uint64_t body_bytes() const override { return body_bytes_; }
  int status() const override { return status_; }

  const Headers& headers() const { return headers_; }
  // True if the client has the whole message.
  bool complete() const { return complete_; }

 private:
  enum class Framing { none, length, chunked, until_close };

  void make_head(int status, Headers headers, std::optional<uint64_t> length);
  // Books body bytes that are about to be sent. False if there is nothing to send.
  bool take(uint64_t size);

  base::ThreadPool& pool_;
  Transport& transport_;
  Http1Body* body_;
  const Request& request_;
  bool& keep_alive_;

  int status_ = 0;
  Headers headers_;
  Framing framing_ = Framing::none;
  std::string head_;   // made and not yet sent
  uint64_t left_ = 0;  // of the promised length
  uint64_t body_bytes_ = 0;
  bool complete_ = false;
};

}  // namespace http

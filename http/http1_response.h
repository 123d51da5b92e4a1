// The response of one HTTP/1.1 exchange: head, framing and the count of what was promised.
#pragma once

#include "http/http1_body.h"
#include "http/server_response.h"
#include "http/transport.h"

namespace http {

class Http1Response : public ServerResponse {
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
  bool client_left() const override { return transport_.peer_left(); }

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

  Framing framing_ = Framing::none;
  std::string head_;  // made and not yet sent
};

}  // namespace http

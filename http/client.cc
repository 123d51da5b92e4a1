#include "http/client.h"

#include "http/curl_multi.h"
#include "http/curl_transfer.h"

namespace http {

struct Client::Impl {
  CurlMulti multi;
};

Client::Client(base::EventLoop& loop, ClientOptions options)
    : impl_(new Impl{.multi{loop, std::move(options)}}) {}

Client::~Client() = default;

base::Task<std::unique_ptr<ClientResponse>> Client::fetch(ClientRequest request) {
  auto transfer = std::make_unique<CurlTransfer>(impl_->multi, request);
  co_await transfer->head();
  co_return std::unique_ptr<ClientResponse>(std::move(transfer));
}

void Client::abort() { impl_->multi.abort(); }

uint64_t Client::connections_opened() const { return impl_->multi.connections_opened; }

}  // namespace http

#include "bench/paced_upstream.h"

#include <algorithm>

#include "http/content.h"

namespace bench {

class PacedUpstream::Source : public http::ContentSource {
 public:
  Source(PacedUpstream& upstream, std::string_view bytes) : upstream_(upstream), bytes_(bytes) {}

  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override {
    constexpr uint64_t kStep = 256 << 10;
    base::EventLoop& loop = *base::EventLoop::current();
    const base::TimePoint began = loop.now();
    for (uint64_t done = 0; done < length;) {
      const uint64_t step = std::min(kStep, length - done);
      co_await response.write(bytes_.substr(offset + done, step));
      done += step;
      upstream_.sent_ += step;
      if (upstream_.pace_.bytes_per_second == 0) continue;
      const std::chrono::duration<double> due(
          static_cast<double>(done) / static_cast<double>(upstream_.pace_.bytes_per_second));
      const auto ahead = std::chrono::duration_cast<base::Duration>(due) - (loop.now() - began);
      if (ahead > base::Duration::zero()) co_await loop.sleep(ahead);
    }
  }

 private:
  PacedUpstream& upstream_;
  std::string_view bytes_;
};

PacedUpstream::PacedUpstream(const Setup& setup, const std::vector<Blob>& blobs, Pace pace)
    : blobs_(blobs), pace_(pace) {
  http::TlsOptions tls;
  tls.certificates.push_back({setup.certificate(), setup.key()});
  server_ = std::make_unique<http::Server>(
      loops_, pool_,
      http::ServerOptions{
          .handler = [this](http::Exchange& exchange) { return handle(exchange); },
          .on_error = [](const http::Request*,
                         const std::exception_ptr&) { return http::Response{.status = 500}; }},
      std::vector<http::Listen>{{"127.0.0.1:0", std::make_shared<http::TlsContext>(tls)}});
  server_->start();
}

PacedUpstream::~PacedUpstream() { server_->drain(std::chrono::seconds(0)); }

base::Task<void> PacedUpstream::handle(http::Exchange& exchange) {
  ++requests_;
  if (pace_.delay.count() > 0) co_await base::EventLoop::current()->sleep(pace_.delay);
  const auto blob = std::ranges::find(blobs_, exchange.request.path, &Blob::target);
  if (blob == blobs_.end()) throw http::StatusError(404, "no such blob");
  http::ContentInfo info;
  info.size = blob->size();
  info.etag = "\"" + blob->target().substr(blob->target().rfind('/') + 1) + "\"";
  Source source(*this, blob->bytes());
  co_await http::serve_content(exchange, std::move(info), source);
}

}  // namespace bench

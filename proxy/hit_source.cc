#include "proxy/hit_source.h"

#include <glog/logging.h>

namespace proxy {

base::Task<void> HitSource::send(http::ResponseWriter& response, uint64_t offset, uint64_t length) {
  if (const auto bytes = blob_->bytes()) {
    co_await response.write(bytes->substr(offset, length));
    co_return;
  }
  if (!fill_) {
    const http::FileSent sent = co_await http::send_file(response, blob_->fd(), offset, length);
    if (sent.error.empty()) co_return;
    LOG(ERROR) << "a hit of " << name_.digest.str()
               << " is served on from the upstream: " << sent.error;
    offset += sent.bytes;
    length -= sent.bytes;
    co_await begin_fill();
  }
  co_await fill_->send(response, offset, length);
}

base::Task<void> HitSource::begin_fill() {
  co_await pool_.run([&] { store_.report_bad(name_.digest, *blob_); });
  while (!fill_) {
    Fills::Joined joined = fills_.join(name_);
    const std::expected<uint64_t, Ending> size = co_await joined.fill->size(name_);
    if (!size && Fills::another_may_do(*joined.fill, size.error(), name_)) continue;
    if (size != blob_->size()) {
      const std::string why = size ? "its size is another now" : size.error().why;
      throw http::ConnectionError("a bad copy cannot be fetched again: " + why);
    }
    fill_.emplace(fills_, std::move(joined));
  }
}

}  // namespace proxy

#include "proxy/hit_source.h"

#include <glog/logging.h>

namespace proxy {

base::Task<void> HitSource::send(http::ResponseWriter& response, uint64_t offset, uint64_t length) {
  if (const auto bytes = blob_->bytes()) {
    co_await response.write(bytes->substr(offset, length));
    co_return;
  }
  if (!fill_) {
    const uint64_t before = response.body_bytes();
    bool bad = false;
    try {
      co_await response.write_file(blob_->fd(), offset, length);
    } catch (const http::FileError& e) {
      LOG(ERROR) << "a hit of " << name_.digest.str()
                 << " is served on from the upstream: " << e.what();
      bad = true;
    }
    if (!bad) co_return;
    const uint64_t sent = response.body_bytes() - before;
    offset += sent;
    length -= sent;
    co_await begin_fill();
  }
  co_await fill_->send(response, offset, length);
}

base::Task<void> HitSource::begin_fill() {
  co_await pool_.run([&] { store_.report_bad(name_.digest, *blob_); });
  Fills::Joined joined = fills_.join(name_);
  const std::optional<uint64_t> size = co_await fills_.size(*joined.fill);
  if (size != blob_->size()) {
    throw http::ConnectionError("a bad copy cannot be fetched again: " +
                                joined.fill->progress.ending().why);
  }
  fill_.emplace(fills_, std::move(joined));
}

}  // namespace proxy

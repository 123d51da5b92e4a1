#include "proxy/fill_source.h"

#include <glog/logging.h>

#include <algorithm>

namespace proxy {

PassThrough& FillSource::past_the_store() {
  if (!past_the_store_) past_the_store_ = fills_.pass_through(joined_);
  past_the_store_->has_sent(sent_end_);
  return *past_the_store_;
}

base::Task<std::optional<Ending>> FillSource::open_past_store(uint64_t offset, uint64_t length) {
  return past_the_store().open(offset, length);
}

base::Task<void> FillSource::send(http::ResponseWriter& response, uint64_t offset,
                                  uint64_t length) {
  const uint64_t end = offset + length;
  while (offset < end) {
    const uint64_t ready = co_await joined_.fill->readable(offset, end, base::kForever);
    if (ready == 0) {
      const Ending ending = joined_.fill->progress.ending();
      if (!passes_through(ending.outcome)) {
        throw http::ConnectionError("the fill failed: " + ending.why);
      }
      co_await past_the_store().send(response, offset, end - offset);
      co_return;
    }
    const uint64_t step = std::min(ready, end - offset);
    const http::FileSent sent =
        co_await http::send_file(response, joined_.fill->file.fd(), offset, step);
    offset += sent.bytes;
    if (sent.bytes > 0) sent_end_ = std::max(sent_end_, offset);
    if (!sent.error.empty()) {
      LOG(ERROR) << joined_.fill->name.digest.str()
                 << ", being fetched, is passed through to a client: " << sent.error;
      co_await past_the_store().send(response, offset, end - offset);
      co_return;
    }
  }
}

}  // namespace proxy

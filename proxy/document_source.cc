#include "proxy/document_source.h"

#include <glog/logging.h>

#include <algorithm>

namespace proxy {

base::Task<void> DocumentSource::send(http::ResponseWriter& response, uint64_t offset,
                                      uint64_t length) {
  const uint64_t end = offset + length;
  const uint64_t begins = before_.size();
  const uint64_t ends = begins + document_.size();
  if (offset < begins) co_await response.write(std::string_view(before_).substr(offset, length));
  if (offset < ends && end > begins) {
    const uint64_t from = std::max(offset, begins);
    co_await send_document(response, from - begins, std::min(end, ends) - from);
  }
  if (end > ends) {
    const uint64_t from = std::max(offset, ends);
    co_await response.write(std::string_view(after_).substr(from - ends, end - from));
  }
}

base::Task<void> DocumentSource::send_document(http::ResponseWriter& response, uint64_t offset,
                                               uint64_t length) {
  while (length > 0) {
    if (const auto bytes = document_.bytes()) {
      co_await response.write(bytes->substr(offset, length));
      co_return;
    }
    const http::FileSent sent =
        co_await http::send_file(response, document_.blob->fd(), offset, length);
    if (sent.error.empty()) co_return;
    LOG(ERROR) << document_.reference.digest.str()
               << " is served on from the upstream: " << sent.error;
    offset += sent.bytes;
    length -= sent.bytes;
    co_await replace();
  }
}

base::Task<void> DocumentSource::replace() {
  if (std::exchange(replaced_, true)) {
    throw http::ConnectionError("the copy that was fetched anew cannot be read, either");
  }
  std::variant<Document, Ending> found = co_await documents_.replace(name_, document_);
  auto* document = std::get_if<Document>(&found);
  if (document == nullptr || document->reference.digest != document_.reference.digest) {
    throw http::ConnectionError("a bad copy cannot be fetched again");
  }
  document_ = std::move(*document);
}

}  // namespace proxy

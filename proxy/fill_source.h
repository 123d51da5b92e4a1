// FillSource: the body of a response from a blob that is being filled. If the store fails under the
// fill, the rest comes past it (PassThrough), and the client does not notice.
//
// Belongs to one request, on its loop. Throws http::ConnectionError when the fill fails, which
// resets the client's connection.
#pragma once

#include <memory>

#include "http/content.h"
#include "proxy/fill.h"
#include "proxy/pass_through.h"

namespace proxy {

class FillSource : public http::ContentSource {
 public:
  FillSource(Fills& fills, std::shared_ptr<Fill> fill) : fills_(fills), fill_(std::move(fill)) {}
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  Fills& fills_;
  std::shared_ptr<Fill> fill_;
  std::unique_ptr<PassThrough> past_the_store_;  // once it is needed
};

}  // namespace proxy

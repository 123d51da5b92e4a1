// FillSource: the body of a response from a blob that is being filled. If the store fails under the
// fill, the rest comes past it (PassThrough), and the client does not notice.
//
// Belongs to one request, on its loop. Throws http::ConnectionError when the fill fails, which
// resets the client's connection.
#pragma once

#include <memory>

#include "http/content.h"
#include "proxy/fills.h"
#include "proxy/pass_through.h"

namespace proxy {

class FillSource : public http::ContentSource {
 public:
  FillSource(Fills& fills, Fills::Joined joined) : fills_(fills), joined_(std::move(joined)) {}

  // Of a fill that has ended with passes_through(), before the response begins: has the upstream
  // begin with these bytes. An Ending if it will not.
  base::Task<std::optional<Ending>> open_past_store(uint64_t offset, uint64_t length);
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  PassThrough& past_the_store();

  Fills& fills_;
  const Fills::Joined joined_;
  uint64_t sent_end_ = 0;                        // of what was sent from the fill's file
  std::unique_ptr<PassThrough> past_the_store_;  // once it is needed
};

}  // namespace proxy

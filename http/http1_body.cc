#include "http/http1_body.h"

#include <cstring>

namespace http {
namespace {

constexpr size_t kBlockBytes = 256 << 10;
// The most that is read for nothing to keep a connection.
constexpr uint64_t kDiscardBytes = 64 << 10;

}  // namespace

Http1Body::Http1Body(base::EventLoop& loop, Transport& transport, RequestParser& parser,
                     InputBuffer& input, LeastPace least, bool expects_continue)
    : transport_(transport),
      parser_(parser),
      input_(input),
      pace_(loop, least),
      length_(parser.content_length()),
      continue_awaited_(expects_continue && !parser.done()) {}

base::Task<std::string_view> Http1Body::read() {
  if (continue_awaited_ && !response_begun_) {
    continue_awaited_ = false;
    // Not if the body is coming already (RFC 9110 §10.1.1).
    if (input_.empty()) {
      const Transport::Parts interim{"HTTP/1.1 100 Continue\r\n\r\n"};
      co_await transport_.write(interim);
    }
  }
  bool stalled = false;
  std::string_view block;
  broken_ = true;  // unless the block comes
  try {
    block = co_await read_block(pace_.begin_wait());
    broken_ = false;
  } catch (const TimedOut&) {
    stalled = true;
  }
  if (stalled) throw StatusError(408, "the request body comes too slowly");
  pace_.end_wait();
  pace_.moved(block.size());
  co_return block;
}

bool Http1Body::too_much_left() const {
  return continue_awaited_ || broken_ || (length_ && *length_ - received_ > kDiscardBytes);
}

base::Task<bool> Http1Body::discard(base::TimePoint deadline) {
  if (too_much_left()) co_return false;
  uint64_t discarded = 0;
  while (!parser_.done()) {
    const std::string_view block = co_await read_block(deadline);
    discarded += block.size();
    if (discarded > kDiscardBytes) co_return false;
  }
  co_return true;
}

base::Task<std::string_view> Http1Body::read_block(base::TimePoint deadline) {
  while (true) {
    const std::string_view block = decode();
    if (!block.empty() || parser_.done()) co_return block;
    input_.make_room(kBlockBytes);
    const size_t n = co_await transport_.read(input_.room(), input_.room_size(), deadline);
    if (n == 0) throw ConnectionError("the client left in the middle of its request body");
    input_.added(n);
  }
}

// Decodes what is in the buffer, moving the pieces of chunks together at its front: many small
// chunks become one block.
std::string_view Http1Body::decode() {
  char* const begin = input_.data();
  size_t decoded = 0;
  while (!parser_.done()) {
    const RequestParser::BodyPart part = parser_.parse_body(input_.bytes());
    if (part.consumed == 0) break;
    if (!part.data.empty()) std::memmove(begin + decoded, part.data.data(), part.data.size());
    decoded += part.data.size();
    input_.consume(part.consumed);
  }
  received_ += decoded;
  return {begin, decoded};
}

}  // namespace http

// PassThrough: a blob on its way from the upstream to one client, past the store: what the store
// cannot take, or could not take to its end, is served all the same.
//
// A response that reaches into the last block begins with what the fill had stored before it
// failed, which is hashed as it is sent; the rest comes from the upstream, once for every client.
// The last block is kept in memory until the digest is right, as in a fill, so no client can finish
// a wrong blob; a response that needs nothing of the last block fetches only what it sends. A
// client costs one request, the first one goes on with the answer that told the fill the size; but
// two for a range that this answer does not bring, and one for each of several ranges; at an
// upstream that has no ranges one for all of them, since its answers are the whole blob.
//
// The end of a blob alone costs the whole of it, verified and thrown away. So it is remembered for
// who asks next (LastBlocks): clients of zstd:chunked and eStargz read each layer's end first.
//
// What always holds: a response that has bytes of the last block has no others than those that were
// hashed with it, so what two transfers brought never stands in one. And several ranges cost no
// more than the blob's bytes. Those that reach into the last block, or are not in ascending order,
// are therefore answered with the whole (Blobs); if that comes too late, because the store fails in
// the middle of such a response, it ends in a reset.
//
// Belongs to one request, on its loop.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "base/thread_pool.h"
#include "http/content.h"
#include "proxy/download.h"
#include "proxy/fill.h"
#include "proxy/request_slots.h"

namespace proxy {

class PassThrough : public http::ContentSource {
 public:
  // The fill knows its size; it has ended, or its file cannot be read. The download is of its blob,
  // and begins at byte 0 if it is open.
  PassThrough(base::ThreadPool& pool, LastBlocks& last_blocks, std::shared_ptr<Fill> fill,
              Download download);

  // Has the upstream begin with what sending these bytes will need first. An Ending if it does not.
  base::Task<std::optional<Ending>> open(uint64_t offset, uint64_t length);

  // The client has bytes of the fill's file, somewhere before this one, that were not verified when
  // they were sent: what is hashed must be the same.
  void has_sent(uint64_t end) { sent_end_ = std::max(sent_end_, end); }

  // http::ConnectionError, which resets the client, if the bytes cannot be had or are wrong.
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  std::shared_ptr<const std::string> remembered(Span span) const;
  base::Task<void> forward(http::ResponseWriter& response, Span span);
  base::Task<void> forward_and_verify(http::ResponseWriter& response, Span span);
  base::Task<std::string_view> next(uint64_t at, uint64_t end);
  base::Task<std::string_view> fetch(uint64_t at, uint64_t end);
  std::string_view take(size_t size);
  base::Task<std::optional<Ending>> open_transfer(Span span);
  void end_transfer();

  base::ThreadPool& pool_;
  LastBlocks& last_blocks_;
  std::shared_ptr<Fill> fill_;
  const uint64_t size_;
  const uint64_t closed_;  // where the last block begins
  bool file_good_;         // there is one, and it can be read
  uint64_t sent_end_ = 0;  // see has_sent()
  Download download_;
  uint64_t at_ = 0;           // where its transfer stands, if one is open
  std::string_view unread_;   // what it brought from there on
  std::string from_file_;     // what next() read there
  bool forwarded_ = false;    // the client has bytes of a transfer that was not hashed
  bool hashing_ = false;      // the client gets bytes of the last block
  std::optional<Slot> slot_;  // among those who are passed through
};

}  // namespace proxy

// PassThrough: a blob on its way from the upstream to one client, past the store: what the store
// cannot take, or could not take to its end, is served all the same.
//
// A response that reaches into the last block begins with what the fill had stored before it
// failed, which is hashed as it is sent; the rest comes from the upstream, once for every client.
// The last block is kept in memory until the digest is right, as in a fill, so no client can finish
// a wrong blob; a response that needs nothing of the last block fetches only what it sends.
//
// Belongs to one request, on its loop.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/thread_pool.h"
#include "http/content.h"
#include "proxy/download.h"
#include "proxy/fill.h"

namespace proxy {

class PassThrough : public http::ContentSource {
 public:
  // The fill knows its size; it has ended, or its file cannot be read.
  PassThrough(Worker& worker, base::ThreadPool& pool, std::shared_ptr<Fill> fill,
              const std::atomic<bool>& stopping);

  // http::ConnectionError, which resets the client, if the bytes cannot be had or are wrong.
  base::Task<void> send(http::ResponseWriter& response, uint64_t offset, uint64_t length) override;

 private:
  base::Task<void> forward(http::ResponseWriter& response, Span span);
  base::Task<void> forward_and_verify(http::ResponseWriter& response, Span span);
  base::Task<std::string_view> next(uint64_t at, uint64_t end);
  base::Task<std::string_view> fetch(uint64_t at, uint64_t end);

  Worker& worker_;
  base::ThreadPool& pool_;
  std::shared_ptr<Fill> fill_;
  const uint64_t size_;
  const uint64_t closed_;  // where the last block begins
  bool file_good_;         // there is one, and it can be read
  Download download_;
  std::string from_file_;   // what next() read there
  std::string last_block_;  // once the digest is right
};

}  // namespace proxy

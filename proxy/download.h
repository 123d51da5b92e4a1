// Download: the bytes of one blob from its upstream, over as many transfers as it takes. One that
// breaks is followed by another from the same byte on, from the next URL (Attempts).
//
// Belongs to one coroutine, on the worker's loop.
#pragma once

#include <atomic>
#include <optional>
#include <string_view>

#include "base/task.h"
#include "proxy/attempts.h"
#include "proxy/outcome.h"
#include "proxy/progress.h"
#include "proxy/upstream_client.h"
#include "proxy/worker.h"

namespace proxy {

class Download {
 public:
  // `stopping` is asked before every attempt.
  Download(Worker& worker, BlobName name, const std::atomic<bool>& stopping);

  // Begins a transfer of these bytes, unless one is open: all from span.begin on if span.end is
  // kToTheEnd. `size` is the blob's, once known. An Ending when all URLs say no, or none has given
  // a byte for UpstreamConfig::rounds rounds. What has begun goes on before what others begin, and
  // waits for a while for an upstream that asks to be left alone (429).
  static constexpr uint64_t kToTheEnd = UINT64_MAX;
  base::Task<std::optional<Ending>> open(Span span, std::optional<uint64_t> size);
  bool is_open() const { return transfer_.has_value(); }
  // Of the open transfer: the blob's size; where its bytes end; whether it is the whole blob, as of
  // an upstream that has no ranges (Transfer::whole); which URL it is from.
  uint64_t blob_size() const { return transfer_->blob_size(); }
  uint64_t end() const { return transfer_->end(); }
  bool whole() const { return transfer_->whole(); }
  size_t url() const { return transfer_->url(); }

  // The next bytes, valid until the next call. Empty if the transfer broke, which is logged and
  // counted: open() goes on from `at`, the byte that was wanted.
  base::Task<std::string_view> read(uint64_t at);
  // Gives the transfer up where it stands.
  void close() { transfer_.reset(); }
  // The transfer has brought all its bytes. It ends as a task of the worker, so that its connection
  // can be used again: nobody waits for an end that the upstream holds back.
  void finish();

 private:
  base::Task<bool> throttling_ends(base::TimePoint patience);
  Attempts attempts() const;

  Worker* worker_;
  BlobName name_;
  const std::atomic<bool>* stopping_;
  Attempts attempts_;
  std::optional<Transfer> transfer_;
  bool began_ = false;  // it has brought bytes, so clients are in the middle of it
};

}  // namespace proxy

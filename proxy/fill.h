// Fill: one blob on its way from the upstreams into the store, and everyone who reads it meanwhile.
//
// A fill runs on the loop whose request started it and goes on when every client has left. Its
// front run fetches from the first missing byte and feeds the digest; a reader far ahead of it
// starts a range run of its own, whose bytes are kept. A transfer that breaks is resumed on the
// next upstream. The file is the buffer: readers on any loop send from it at their own speed.
//
// Shared between its runs, its readers and who purges it; the table of those in flight is Fills.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/short_memory.h"
#include "base/task.h"
#include "base/thread_pool.h"
#include "oci/digest.h"
#include "proxy/download.h"
#include "proxy/fill_file.h"
#include "proxy/outcome.h"
#include "proxy/progress.h"
#include "proxy/store.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

namespace proxy {

// Last blocks of blobs that could not be stored, by digest, each verified with all of its blob.
struct LastBlock {
  uint64_t blob_size = 0;
  std::shared_ptr<const std::string> bytes;
};
using LastBlocks = base::ShortMemory<LastBlock>;

class Fill : public std::enable_shared_from_this<Fill> {
 public:
  // What all fills have in common. Thread-safe; outlives them.
  struct Common {
    // `write` says whether a fill, which has an answer, is to be the one of its digest's that
    // writes.
    Common(Workers& on, base::ThreadPool& blocking, Store& into, std::function<bool(Fill&)> write);

    Workers& workers;
    base::ThreadPool& pool;
    Store& store;
    const std::function<bool(Fill&)> may_write;
    std::atomic<bool> stopping = false;    // every fill is to end
    std::atomic<bool> letting_go = false;  // another process is to have the store
    const FillFile::CurrentStore current_store;
    // Of blobs that could not be stored, so that nobody is asked for them again only to learn them.
    // Whether there is room by now, the store is asked each time.
    base::ShortMemory<uint64_t> sizes;
    LastBlocks last_blocks;  // see PassThrough
  };

  // Where a fill that cannot store its blob leaves the upstream's answer, for who started it and
  // holds this. Touched on the fill's loop only.
  using FirstAnswer = std::optional<Download>;

  // `bytes`: the whole blob, of a fill that fetches nothing. `ranges`: somebody wants ranges of it.
  Fill(Common& common, Worker& worker, BlobName blob, std::shared_ptr<const std::string> bytes,
       bool ranges);

  // Gets the blob into the store; on the worker's loop, once. Nothing of it writes any more when it
  // returns, but its readers are not told yet: that is progress.end().
  base::Task<Ending> run(std::weak_ptr<FirstAnswer> answer);

  // ---- for its readers; on the loop of any worker

  // How long it is worth waiting for in this name.
  base::TimePoint patience(const BlobName& reader) const;
  // Waits until it knows its size. The Ending if it ended before; `filling` if it is not worth
  // waiting for in this name any longer.
  base::Task<std::expected<uint64_t, Ending>> size(const BlobName& reader);
  // Waits until it is over, or not worth waiting for in this name: then it is `filling`.
  base::Task<Ending> ended(const BlobName& reader);
  // Waits for readable bytes at the offset, starting a range run if the front is far away; `end` is
  // where the reader will stop. Returns how many there are; 0 if the fill ended without them or the
  // deadline passed.
  base::Task<uint64_t> readable(uint64_t offset, uint64_t end, base::TimePoint deadline);

  const BlobName name;
  const base::TimePoint began;
  const std::shared_ptr<const std::string> given;  // nullptr: it fetches
  Progress progress;
  FillFile file;
  // It is the one of its digest's fills that writes; set by Fills.
  std::atomic<bool> writes = false;

 private:
  struct Run;

  base::Task<Ending> fill_blob(const std::weak_ptr<FirstAnswer>& answer);
  void log(const Ending& ending) const;
  std::optional<uint64_t> known_size() const;
  base::Task<std::optional<Ending>> open_stored();
  base::Task<std::optional<Ending>> open_first(Download& download);
  base::Task<std::optional<Ending>> open_writer(uint64_t size);
  base::Task<Ending> store_given();
  base::Task<Ending> fetch_front(Run run);
  base::Task<Ending> finish(const oci::Digest& found);
  Ending wrong_bytes(const oci::Digest& found);

  base::Task<std::optional<Ending>> fetch(Run& run, Claim& claim);
  void store_bytes(uint64_t offset, std::string_view bytes, oci::Hasher* hasher);
  Claim claim_range(uint64_t offset, uint64_t end, base::TimePoint now);
  static base::Task<void> fetch_range(std::shared_ptr<Fill> fill, Worker* worker, Claim claim);

  Common& common_;
  Worker& worker_;

  std::atomic<UrlSet> sources_ = 0;      // whose bytes are in it
  std::atomic<bool> no_ranges_ = false;  // the upstream gives none: only the front run fetches
  // After a range run failed: until then no other is started, and then one, to see how it goes.
  std::atomic<base::TimePoint> ranges_from_ = kAlways;
  static constexpr base::TimePoint kAlways = base::TimePoint::min();
  // Somebody reads it by ranges: the front run asks for no more than it has claimed, so that no
  // byte comes twice.
  std::atomic<bool> by_ranges_;
};

}  // namespace proxy

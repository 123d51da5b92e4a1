// Fill: one blob on its way from the upstreams into the store, and everyone who reads it meanwhile.
// Fills: the table of fills in flight, so that a digest is fetched once however many ask.
//
// An upstream that brings nothing holds up its own clients only: those of another go on after a
// while with a fill from theirs. The fill that has an answer first is from then on the only one;
// one that goes on with a partial blob knows its size without, and is the only one from its start.
//
// A fill runs on the loop whose request started it and goes on when every client has left. Its
// front run fetches from the first missing byte and feeds the digest; a reader far ahead of it
// starts a range run of its own, whose bytes are kept. A transfer that breaks is resumed on the
// next upstream. The file is the buffer: readers on any loop send from it at their own speed.
#pragma once

#include <atomic>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/short_memory.h"
#include "base/thread_pool.h"
#include "http/content.h"
#include "proxy/fill_file.h"
#include "proxy/outcome.h"
#include "proxy/progress.h"
#include "proxy/store.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

namespace proxy {

class Download;
class PassThrough;

// Shared between its runs, its readers and who purges it.
struct Fill {
  Fill(BlobName blob, base::TimePoint now, std::shared_ptr<const std::string> bytes)
      : name(std::move(blob)),
        began(now),
        given(std::move(bytes)),
        file(name.digest, name.upstream->name()) {}

  const BlobName name;
  const base::TimePoint began;
  const std::shared_ptr<const std::string> given;  // the whole blob, of a fill that fetches nothing
  Progress progress;
  FillFile file;
  // It is the one of its digest's fills that writes; set by Fills.
  std::atomic<bool> writes = false;

  std::atomic<UrlSet> sources = 0;      // whose bytes are in it
  std::atomic<bool> no_ranges = false;  // the upstream gives none: only the front run fetches
  // After a range run failed: until then no other is started, and then one, to see how it goes.
  std::atomic<base::TimePoint> ranges_from = kAlways;
  static constexpr base::TimePoint kAlways = base::TimePoint::min();
  // Somebody reads it by ranges: the front run asks for no more than it has claimed, so that no
  // byte comes twice.
  std::atomic<bool> by_ranges = false;
};

// Last blocks of blobs that could not be stored, by digest, each verified with all of its blob.
struct LastBlock {
  uint64_t blob_size = 0;
  std::shared_ptr<const std::string> bytes;
};
using LastBlocks = base::ShortMemory<LastBlock>;

// Thread-safe. The workers are stopped, and with them every fill, before it is destroyed.
class Fills {
 public:
  Fills(Workers& workers, base::ThreadPool& pool, Store& store);

  struct FirstAnswer;
  struct Joined {
    std::shared_ptr<Fill> fill;
    bool started = false;  // false: the fill was under way, this request is coalesced with it
    // Of who started it, and holds it on: a fill that cannot store the blob leaves the upstream's
    // answer here, so that pass_through() need not ask again. Touched on that loop only.
    std::shared_ptr<FirstAnswer> answer;
  };
  // The fill of this digest, started on the calling loop if there is none, or none that is still
  // worth waiting for in this name; `by_ranges` says that ranges of it are wanted. A fill under way
  // may be asking in another's name: see another_may_do().
  Joined join(const BlobName& name, bool by_ranges = false);
  // Whether it is worth to join again: because the fill is not worth waiting for any longer (it is
  // still `filling`) or gave way to another, because it failed in the name of another repository or
  // upstream, and this one may have the blob, or with bytes that it was given and nobody fetches,
  // or because it was refused for another's CDN-Loop.
  static bool another_may_do(const Fill& fill, const Ending& ending, const BlobName& name);
  // The fill of this digest if one is under way; of several that only ask, the first.
  std::shared_ptr<Fill> find(const oci::Digest& digest);
  // Gets the blob into the store, or says why not: also if fills in another's name failed
  // meanwhile.
  base::Task<Ending> fetch(BlobName name);
  // Stores a blob whose bytes are there, as a manifest that came by its own request, and returns it
  // as the store has it, however it came there. An Ending if the store has it not.
  base::Task<std::variant<std::shared_ptr<const cache::Blob>, Ending>> keep(
      BlobName name, std::shared_ptr<const std::string> bytes);
  // Every fill under way.
  std::vector<std::shared_ptr<Fill>> all() const;
  // What the fill of this digest brings, if one is under way, will not be kept. False if there is
  // none, or if it is kept already. Blocks while it writes.
  bool purge(const oci::Digest& digest);

  // Waits until the fill knows its size. The Ending if it ended before; `filling` if it is not
  // worth waiting for in this name any longer.
  base::Task<std::expected<uint64_t, Ending>> size(Fill& fill, const BlobName& name);
  // Waits for readable bytes at the offset, starting a range run if the front is far away; `end` is
  // where the reader will stop. Returns how many there are; 0 if the fill ended without them or the
  // deadline passed.
  base::Task<uint64_t> readable(std::shared_ptr<Fill> fill, uint64_t offset, uint64_t end,
                                base::TimePoint deadline);

  // The size of a blob that is not held, asked of the upstream's URLs in turn by HEAD.
  base::Task<std::variant<uint64_t, Ending>> head(BlobName name);

  // A way past the store for one reader of a fill that has ended with passes_through(). On the
  // reader's loop.
  std::unique_ptr<PassThrough> pass_through(const Joined& joined);

  // Has every fill go on without the store, in its file, which loses its name: no two processes may
  // write one file. Those that begin from now on store nothing. Waits for commits under way, which
  // the disk may make long. Blocks; not from a loop's thread.
  void let_go_of_store();
  // Undoes that: the store is there again.
  void use_store() { letting_go_ = false; }
  // Has every fill end as `cancelled`, once its transfer fails (Workers::cancel); partial blobs
  // stay for a resume. Any thread; does not wait.
  void cancel() { stopping_ = true; }

 private:
  // The range runs and the front run of one fill fetch through this.
  struct Run;

  Joined join(const BlobName& name, bool by_ranges, std::shared_ptr<const std::string> given);
  static base::TimePoint patience(const Fill& fill, const BlobName& name);
  bool may_write(Fill& fill);
  // Waits until it is over, or not worth waiting for in this name: then it is `filling`.
  base::Task<Ending> ended(std::shared_ptr<Fill> fill, BlobName name);
  base::Task<std::shared_ptr<Fill>> last_fill(BlobName name,
                                              std::shared_ptr<const std::string> given);
  base::Task<void> run(std::shared_ptr<Fill> fill, Worker* worker,
                       std::shared_ptr<FirstAnswer> answer);
  base::Task<Ending> fill_blob(Fill& fill, Worker& worker,
                               const std::shared_ptr<FirstAnswer>& answer);
  std::optional<uint64_t> known_size(const BlobName& name, base::TimePoint now) const;
  base::Task<std::optional<Ending>> open_stored(Fill& fill);
  base::Task<std::optional<Ending>> open_first(Fill& fill, Download& download);
  base::Task<std::optional<Ending>> open_writer(Fill& fill, uint64_t size);
  base::Task<Ending> store_given(Fill& fill, Worker& worker);
  base::Task<Ending> fetch_front(Fill& fill, Worker& worker, Run run);
  Claim claim_range(Fill& fill, uint64_t offset, uint64_t end);
  base::Task<void> fetch_range(std::shared_ptr<Fill> fill, Worker* worker, Claim claim);
  base::Task<std::optional<Ending>> fetch(Fill& fill, Run& run, Claim& claim);
  void store_bytes(Fill& fill, uint64_t offset, std::string_view bytes, oci::Hasher* hasher);
  base::Task<Ending> finish(Fill& fill, Worker& worker, const oci::Digest& found);
  Ending wrong_bytes(Fill& fill, Worker& worker, const oci::Digest& found);

  Workers& workers_;
  base::ThreadPool& pool_;
  Store& store_;
  std::atomic<bool> stopping_ = false;
  std::atomic<bool> letting_go_ = false;
  const FillFile::CurrentStore current_store_;
  // Of blobs that could not be stored, so that nobody is asked for them again only to learn them.
  // Whether there is room by now, the store is asked each time.
  base::ShortMemory<uint64_t> sizes_;
  LastBlocks last_blocks_;  // see PassThrough

  mutable std::mutex mutex_;
  // Of each digest the fill that writes, alone, or those that ask, in the order of their beginning.
  std::unordered_map<oci::Digest, std::vector<std::shared_ptr<Fill>>> fills_;  // guarded by mutex_
};

}  // namespace proxy

// Fills: the table of fills in flight, so that a digest is fetched once however many ask.
//
// An upstream that brings nothing holds up its own clients only: those of another go on after a
// while with a fill from theirs. The fill that has an answer first is from then on the only one;
// one that goes on with a partial blob knows its size without, and is the only one from its start.
//
// Thread-safe. The workers are stopped, and with them every fill, before it is destroyed.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/task.h"
#include "base/thread_pool.h"
#include "cache/blob_store.h"
#include "oci/digest.h"
#include "proxy/fill.h"
#include "proxy/outcome.h"
#include "proxy/store.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

namespace proxy {

class PassThrough;

class Fills {
 public:
  Fills(Workers& workers, base::ThreadPool& pool, Store& store);

  struct Joined {
    std::shared_ptr<Fill> fill;
    bool started = false;  // false: the fill was under way, this request is coalesced with it
    // Of who started it, so that pass_through() need not ask again.
    std::shared_ptr<Fill::FirstAnswer> answer;
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
  void use_store() { common_.letting_go = false; }
  // Has every fill end as `cancelled`, once its transfer fails (Workers::cancel); partial blobs
  // stay for a resume. Any thread; does not wait.
  void cancel() { common_.stopping = true; }

 private:
  Joined join(const BlobName& name, bool by_ranges, std::shared_ptr<const std::string> given);
  base::Task<void> run(std::shared_ptr<Fill> fill, std::weak_ptr<Fill::FirstAnswer> answer);
  bool may_write(Fill& fill);
  base::Task<std::shared_ptr<Fill>> last_fill(BlobName name,
                                              std::shared_ptr<const std::string> given);

  Fill::Common common_;

  mutable std::mutex mutex_;
  // Of each digest the fill that writes, alone, or those that ask, in the order of their beginning.
  std::unordered_map<oci::Digest, std::vector<std::shared_ptr<Fill>>> fills_;  // guarded by mutex_
};

}  // namespace proxy

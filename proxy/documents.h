// Documents: the manifests and lists that this edge has, and their way here.
//
// A manifest that is asked for by its digest is fetched once, verified and kept; it is never asked
// about again. What a tag or a list leads to is answered from what is kept for `tag_lifetime`;
// after that the upstream is asked whether it still does, and followed if it has moved. While the
// upstream has no word (it is down, slow, or answers 429) the older answer is given, stale, for
// `stale_if_error`. (RFC 9111 §4.2, §4.3; RFC 5861 §4)
//
// However many ask for one name, the upstream is asked once at a time. Bytes are blobs in the
// store, so they count in its budget and may be evicted, and who serves them reads them there; what
// names lead to is in the References. In memory are the bytes of what the store could not take, and
// no more of those than kMostUnkept.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/signal.h"
#include "base/thread_pool.h"
#include "cache/references.h"
#include "proxy/document.h"
#include "proxy/fills.h"
#include "proxy/store.h"
#include "proxy/worker.h"

namespace proxy {

// Bytes of documents that are served although the store could not take them, all together. When
// there are more, clients get 503 until others are done.
inline constexpr uint64_t kMostUnkept = 64 << 20;

// A document to serve.
struct Document {
  enum class From {
    hit,          // kept, and not to be asked about
    miss,         // fetched now
    revalidated,  // kept, and the upstream has said now that it is still this one
    stale,        // kept, because the upstream had no word: see `why`
  };
  cache::Reference reference;
  std::shared_ptr<const cache::Blob> blob;    // one of these: as the store has it,
  std::shared_ptr<const std::string> unkept;  // or its bytes, if the store could not take them
  From from = From::hit;
  int64_t age = 0;         // seconds since the upstream's word
  bool collapsed = false;  // another request asked the upstream
  std::string why;         // of `stale`, a sentence for people

  uint64_t size() const { return blob ? blob->size() : unkept->size(); }
  // nullopt: they are in the blob's file.
  std::optional<std::string_view> bytes() const;
};

// Thread-safe. The workers are stopped, and with them every question, before it is destroyed.
class Documents {
 public:
  using UnixTime = std::function<int64_t()>;  // the wall clock, in seconds

  Documents(Workers& workers, base::ThreadPool& pool, Store& store, Fills& fills,
            UnixTime unix_time)
      : workers_(workers),
        pool_(pool),
        store_(store),
        fills_(fills),
        unix_time_(std::move(unix_time)) {}

  // The document, or why there is none: absent, refused, too_large, throttled, busy, unreachable,
  // digest_mismatch, storage_failed, cancelled.
  base::Task<std::variant<Document, Ending>> get(DocumentName name);
  // All of the document's bytes, for who looks into it.
  base::Task<std::variant<std::string, Ending>> read(DocumentName name, Document document);
  // The document's blob cannot be read: it is dropped, and fetched again. What comes may be another
  // document, of a list.
  base::Task<std::variant<Document, Ending>> replace(DocumentName name, Document bad);

  // What is being asked now of these names, or leads to this manifest, is given to those who wait
  // for it, but is not remembered nor kept. How many names it surely was. Blocks.
  size_t purge(const std::function<bool(const DocumentName&)>& purged);
  size_t purge(const oci::Digest& digest);

 private:
  using Result = std::variant<Document, Ending>;

  // A question that is being put to an upstream, shared by all who want to know.
  struct Question {
    Question(DocumentName what, base::TimePoint now) : name(std::move(what)), since(now) {}

    const DocumentName name;  // as the request that began it has it
    const base::TimePoint since;
    base::Signal answered;
    std::mutex mutex;
    std::optional<Result> result;  // guarded by mutex

    std::mutex remembering;         // held while what it brings is written
    bool purged = false;            // guarded by remembering
    std::set<oci::Digest> deleted;  // guarded by remembering; manifests it may lead to
  };

  // What is kept under a name; the blob is null if it was evicted.
  struct Kept {
    cache::Reference reference;
    std::shared_ptr<const cache::Blob> blob;
    int64_t age = 0;
  };

  std::optional<Kept> look_up(const DocumentName& name) const;
  static bool fresh(const DocumentName& name, const Kept& kept);
  static bool stale_allowed(const DocumentName& name, const Kept& kept);
  static Document stale(Kept kept, std::string why);

  struct Joined {
    std::shared_ptr<Question> question;
    bool started = false;
  };
  Joined join(const DocumentName& name);
  static bool refused_for_another(const DocumentName& name, const Joined& joined,
                                  const Result& result);
  base::Task<void> run(std::shared_ptr<Question> question, Worker* worker);
  base::Task<Result> ask(Question& question, Worker& worker);
  base::Task<Result> ask_again(Question& question, Worker& worker, Kept kept);
  base::Task<Result> confirm(Question& question, Kept kept);
  base::Task<Result> keep(Question& question, Fetched fetched);
  std::shared_ptr<const std::string> in_memory(std::shared_ptr<const std::string> bytes);
  base::Task<void> forget(DocumentName name);
  bool remember(Question& question, const cache::Reference& reference);
  std::vector<std::shared_ptr<Question>> questions() const;
  base::Task<std::optional<Result>> wait(std::shared_ptr<Question> question,
                                         base::TimePoint deadline);

  Workers& workers_;
  base::ThreadPool& pool_;
  Store& store_;
  Fills& fills_;
  const UnixTime unix_time_;
  std::atomic<uint64_t> unkept_ = 0;  // bytes of what is served from memory

  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Question>> questions_;  // guarded by mutex_
};

}  // namespace proxy

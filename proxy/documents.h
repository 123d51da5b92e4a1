// Documents: the manifests and lists that this edge has, and their way here.
//
// A manifest that is asked for by its digest is fetched once, verified and kept; it is never asked
// about again. What a tag or a list leads to is answered from what is kept for `tag_lifetime`;
// after that the upstream is asked whether it still does, and followed if it has moved. While the
// upstream has no word (it is down, slow, or answers 429) the older answer is given, stale, for
// `stale_if_error`. (RFC 9111 §4.2, §4.3; RFC 5861 §4)
//
// However many ask for one name, the upstream is asked once at a time. Bytes are blobs in the
// store, so they count in its budget and may be evicted; what names lead to is in the References.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "base/signal.h"
#include "base/thread_pool.h"
#include "cache/references.h"
#include "proxy/document.h"
#include "proxy/fill.h"
#include "proxy/store.h"
#include "proxy/worker.h"

namespace proxy {

// A document to serve.
struct Document {
  enum class From {
    hit,          // kept, and not to be asked about
    miss,         // fetched now
    revalidated,  // kept, and the upstream has said now that it is still this one
    stale,        // kept, because the upstream had no word: see `why`
  };
  cache::Reference reference;
  std::shared_ptr<const std::string> bytes;
  From from = From::hit;
  int64_t age = 0;         // seconds since the upstream's word
  bool collapsed = false;  // another request asked the upstream
  std::string why;         // of `stale`, a sentence for people
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

  // The document, or why there is none: absent, refused, throttled, busy, unreachable,
  // digest_mismatch, storage_failed, cancelled.
  base::Task<std::variant<Document, Ending>> get(DocumentName name);

 private:
  using Result = std::variant<Document, Ending>;

  // A question that is being put to an upstream, shared by all who want to know.
  struct Question {
    base::TimePoint since;
    std::string cdn_loop;  // of the request that began it, constant
    base::Signal answered;
    std::mutex mutex;
    std::optional<Result> result;  // guarded by mutex
  };

  // What is kept under a name; `bytes` are null if they were evicted.
  struct Kept {
    cache::Reference reference;
    std::shared_ptr<const std::string> bytes;
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
  base::Task<void> run(std::shared_ptr<Question> question, DocumentName name, Worker* worker);
  base::Task<Result> ask(DocumentName name, Worker& worker);
  base::Task<Result> ask_again(DocumentName name, Worker& worker, Kept kept);
  base::Task<Result> confirm(DocumentName name, Kept kept);
  base::Task<Result> keep(DocumentName name, Fetched fetched);
  base::Task<void> forget(DocumentName name);
  base::Task<void> remember(DocumentName name, cache::Reference reference);
  base::Task<std::optional<Result>> wait(std::shared_ptr<Question> question,
                                         base::TimePoint deadline);

  Workers& workers_;
  base::ThreadPool& pool_;
  Store& store_;
  Fills& fills_;
  const UnixTime unix_time_;

  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Question>> questions_;  // guarded by mutex_
};

}  // namespace proxy

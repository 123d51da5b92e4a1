// Purger: takes content out of the cache, with the names that led to it, because an operator wants
// it to go or its registry says that it is gone. What is being served of it is served to its end,
// and a fill under way goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/task.h"
#include "base/thread_pool.h"
#include "oci/digest.h"
#include "proxy/document.h"
#include "proxy/documents.h"
#include "proxy/fills.h"
#include "proxy/store.h"

namespace proxy {

struct Purged {
  uint64_t blobs = 0;  // manifests among them
  uint64_t bytes = 0;
  uint64_t references = 0;  // names of manifests and lists

  bool none() const { return blobs == 0 && references == 0; }
};

// Thread-safe. Its work is done on the pool, in small steps. base::IoError, after which some of it
// may be gone. What is being fetched meanwhile counts as a blob and is not kept, and a name whose
// upstream is being asked counts as a reference and is not remembered.
class Purger {
 public:
  Purger(base::ThreadPool& pool, const Store& store, Fills& fills, Documents& documents)
      : pool_(pool), store_(store), fills_(fills), documents_(documents) {}

  base::Task<Purged> blob(oci::Digest digest);
  // Every blob that was fetched from the upstream, be it in part, and every name of its.
  base::Task<Purged> upstream(std::string name);
  // The repository's names, their manifests, and what these refer to, unless a known manifest of
  // another repository refers to it as well. Blobs whose manifest is not known stay.
  base::Task<Purged> repository(std::string upstream, std::string repository);
  // One name, with nothing of what it leads to.
  base::Task<Purged> reference(DocumentName name);
  // A manifest or a blob, and the repository's names that lead to it.
  base::Task<Purged> deleted(std::shared_ptr<Upstream> upstream, std::string repository,
                             oci::Digest digest);

  // What the name leads to is to be asked before it is answered again; it can still be given,
  // stale, while nobody answers. `now` in Unix seconds.
  base::Task<void> expire(DocumentName name, int64_t now);

 private:
  // `asked` is how many names are being asked about.
  base::Task<Purged> remove(std::vector<oci::Digest> digests, std::vector<std::string> names,
                            size_t asked);

  base::ThreadPool& pool_;
  const Store& store_;
  Fills& fills_;
  Documents& documents_;
};

}  // namespace proxy

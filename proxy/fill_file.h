// FillFile: the file that a fill writes a blob to. It is a partial blob of the store; a fill that
// has let go of the store, because another process is to have it, goes on in the file alone, which
// has no name any more.
//
// Thread-safe: those who write, a purge and a takeover meet here. Everything but fd() and lost()
// blocks while the fill is under way, so belongs on the pool. Failure is IoError.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "cache/blob_store.h"
#include "cache/blob_writer.h"
#include "cache/space.h"
#include "oci/digest.h"
#include "proxy/outcome.h"
#include "proxy/progress.h"

namespace proxy {

class FillFile {
 public:
  // Gives the store, or nullptr while another process has it or is about to.
  using CurrentStore = std::function<std::shared_ptr<cache::BlobStore>()>;

  // The account is the upstream whose quota the blob counts for.
  FillFile(const oci::Digest& digest, std::string account)
      : digest_(digest), account_(std::move(account)) {}

  // The store has the blob already.
  void hold(std::shared_ptr<const cache::Blob> blob);
  // What an earlier fill left.
  struct Present {
    std::vector<Span> spans;
    bool doubtful = false;  // a power cut may have spoilt it
  };
  // Begins the partial blob, or resumes it. An Ending with passes_through() if the store takes
  // none.
  std::expected<Present, Ending> begin(const CurrentStore& store, uint64_t size);

  void write(uint64_t offset, std::string_view bytes);
  // Of blocks that these bytes have made whole, the partial blob remembers that they are there.
  void mark(const Progress& progress, Span bytes);
  // The bytes are verified: makes the blob durable and a hit, unless it was purged. One that had
  // let go of a store which is there again, because the process that was to take over has failed,
  // is written to it anew.
  void commit(const CurrentStore& store);
  // Gives the writer up; what is there stays behind as a partial blob, unless it is to be
  // discarded.
  void leave(bool discard);

  // What it brings will not be kept. False if that is known, or if it is kept already.
  bool purge();
  // From now on only the file is written. It has its room already, since that is allocated when a
  // writer begins, so it takes no more than the budget had for it, and goes with its fill. The
  // successor's budget does not know of it. Its floor of free disk does: it asks the disk.
  void let_go();

  // Another fill, or another process, may write to the file now: unless they are verified, the
  // bytes that are read there may not be those that were read before. Does not block.
  bool lost() const { return lost_; }
  // What readers read; -1 before hold() or begin(), constant from then on.
  int fd() const { return file_.get(); }
  // Once stored: who reads the file holds it, and so the store does not evict what they read.
  std::shared_ptr<const cache::Blob> blob() const;

 private:
  bool write_again(const CurrentStore& current);

  const oci::Digest digest_;
  const std::string account_;
  // Of a file that was discarded: it is on the disk until the last reader is done, and so its room
  // is nobody else's. Guarded by mutex_; before file_, which is closed first.
  std::optional<cache::Space::Reservation> space_;
  base::UniqueFd file_;

  mutable std::mutex mutex_;  // guards all that follows
  uint64_t size_ = 0;
  std::shared_ptr<const cache::Blob> blob_;
  std::shared_ptr<cache::BlobStore> store_;  // as long as there is a writer
  std::unique_ptr<cache::BlobWriter> writer_;
  std::atomic<bool> lost_ = false;  // given up, and the file still has its name; see lost()
  bool purged_ = false;             // what it brings is not kept, but its readers get it
};

}  // namespace proxy

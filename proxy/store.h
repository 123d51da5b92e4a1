// Store: the cache's store and its references, as long as this process has them. Only one process
// can: while another takes over, and after that, nothing is held, and nothing can be kept.
//
// Thread-safe. The functions are BlobStore's.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "base/event_loop.h"
#include "cache/blob_store.h"
#include "cache/references.h"
#include "oci/digest.h"

namespace proxy {

// How long the users of a store that is to be closed are waited for: connections that come
// meanwhile are not accepted, and the process that is to have it gives up after a minute.
inline constexpr std::chrono::seconds kReleaseTime(10);

class Store {
 public:
  // Opens it: base::IoError.
  explicit Store(cache::BlobStoreOptions options);

  const std::filesystem::path& directory() const { return directory_; }
  // Other limits, from now on, also for when it is opened again. Never blocks.
  void set_limits(const cache::StoreLimits& limits);
  // nullptr while another process has it. Not to be kept longer than it is used: release() waits.
  std::shared_ptr<cache::BlobStore> get() const;
  std::shared_ptr<cache::References> references() const;

  // Both, for who cannot do without: base::IoError (EBUSY) while another process has them.
  struct Held {
    std::shared_ptr<cache::BlobStore> blobs;
    std::shared_ptr<cache::References> references;
  };
  Held held() const;

  // Closes it once nobody uses it any more; the fills have let go of it. base::IoError (EBUSY) if
  // somebody still does after kReleaseTime: then it stays open. Blocks.
  void release();
  // Opens it again, unless it is open. Blocks; base::IoError.
  void reopen();

  std::shared_ptr<const cache::Blob> hot(const oci::Digest& digest) const;
  std::shared_ptr<const cache::Blob> open(const oci::Digest& digest) const;
  bool may_hold(const oci::Digest& digest) const;
  bool contains(const oci::Digest& digest) const;
  std::optional<uint64_t> size_of(const oci::Digest& digest) const;
  std::optional<uint64_t> partial_size(const oci::Digest& digest) const;
  std::optional<cache::BlobInfo> info(const oci::Digest& digest) const;
  bool pin(const oci::Digest& digest, bool pinned) const;
  void report_bad(const oci::Digest& digest, const cache::Blob& blob) const;
  cache::StoreStats stats() const;

 private:
  struct Open;
  std::shared_ptr<Open> open_store() const;
  void use(std::shared_ptr<Open> open);

  const std::filesystem::path directory_;
  base::Clock& clock_;
  mutable std::mutex mutex_;
  cache::BlobStoreOptions options_;  // guarded by mutex_
  std::shared_ptr<Open> open_;       // guarded by mutex_
};

}  // namespace proxy

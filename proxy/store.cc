#include "proxy/store.h"

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "base/error.h"
#include "cache/layout.h"
#include "proxy/known_names.h"

namespace proxy {
namespace {

constexpr std::chrono::milliseconds kPoll(1);
// A process that has failed to take over may still be on its way out.
constexpr int kReopenAttempts = 10'000;

}  // namespace

struct Store::Open {
  explicit Open(const cache::BlobStoreOptions& options)
      : blobs(options), references(cache::Layout(options.root).references(), facts_of) {}

  cache::BlobStore blobs;  // first: it has the lock of the directory
  cache::References references;
};

Store::Store(cache::BlobStoreOptions options)
    : directory_(options.root),
      clock_(*options.clock),
      options_(std::move(options)),
      open_(std::make_shared<Open>(options_)) {}

void Store::set_limits(const cache::StoreLimits& limits) {
  const std::lock_guard lock(mutex_);
  options_.capacity = limits.capacity;
  options_.min_free = limits.min_free;
  options_.quotas = limits.quotas;
  options_.scrub_rate = limits.scrub_rate;
  if (open_) open_->blobs.set_limits(limits);
}

std::shared_ptr<Store::Open> Store::open_store() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

std::shared_ptr<cache::BlobStore> Store::get() const {
  const std::shared_ptr<Open> open = open_store();
  return open ? std::shared_ptr<cache::BlobStore>(open, &open->blobs) : nullptr;
}

std::shared_ptr<cache::References> Store::references() const {
  const std::shared_ptr<Open> open = open_store();
  return open ? std::shared_ptr<cache::References>(open, &open->references) : nullptr;
}

Store::Held Store::held() const {
  const std::shared_ptr<Open> open = open_store();
  if (!open) throw base::IoError(EBUSY, "another process has the cache");
  return {std::shared_ptr<cache::BlobStore>(open, &open->blobs),
          std::shared_ptr<cache::References>(open, &open->references)};
}

void Store::release() {
  std::shared_ptr<Open> open;
  {
    const std::lock_guard lock(mutex_);
    open.swap(open_);
  }
  // Nobody gets it any more, so the count only falls.
  const base::TimePoint deadline = clock_.now() + kReleaseTime;
  while (open.use_count() > 1) {
    if (clock_.now() >= deadline) {
      use(std::move(open));
      throw base::IoError(EBUSY, "the cache is in use, and has been for " +
                                     std::to_string(kReleaseTime.count()) +
                                     " seconds since it was to be closed");
    }
    std::this_thread::sleep_for(kPoll);
  }
}

void Store::use(std::shared_ptr<Open> open) {
  const std::lock_guard lock(mutex_);
  open->blobs.set_limits(options_.limits());  // that may have changed meanwhile
  open_ = std::move(open);
}

void Store::reopen() {
  if (open_store()) return;
  const auto options = [this] {
    const std::lock_guard lock(mutex_);
    return options_;
  };
  for (int attempt = 1;; ++attempt) {
    try {
      return use(std::make_shared<Open>(options()));
    } catch (const base::IoError& e) {
      if (e.number() != EBUSY || attempt == kReopenAttempts) throw;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

std::shared_ptr<const cache::Blob> Store::hot(const oci::Digest& digest) const {
  const auto store = get();
  return store ? store->hot(digest) : nullptr;
}

std::shared_ptr<const cache::Blob> Store::open(const oci::Digest& digest) const {
  const auto store = get();
  return store ? store->open(digest) : nullptr;
}

bool Store::may_hold(const oci::Digest& digest) const {
  const auto store = get();
  return store && store->may_hold(digest);
}

bool Store::contains(const oci::Digest& digest) const {
  const auto store = get();
  return store && store->contains(digest);
}

std::optional<uint64_t> Store::size_of(const oci::Digest& digest) const {
  const auto store = get();
  return store ? store->size_of(digest) : std::nullopt;
}

std::optional<uint64_t> Store::partial_size(const oci::Digest& digest) const {
  const auto store = get();
  return store ? store->partial_size(digest) : std::nullopt;
}

std::optional<cache::BlobInfo> Store::info(const oci::Digest& digest) const {
  const auto store = get();
  return store ? store->info(digest) : std::nullopt;
}

bool Store::pin(const oci::Digest& digest, bool pinned) const {
  const auto store = get();
  return store && store->pin(digest, pinned);
}

void Store::report_bad(const oci::Digest& digest, const cache::Blob& blob) const {
  if (const auto store = get()) store->report_bad(digest, blob);
}

cache::StoreStats Store::stats() const {
  const auto store = get();
  return store ? store->stats() : cache::StoreStats{};
}

}  // namespace proxy

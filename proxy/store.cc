#include "proxy/store.h"

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.h"

namespace proxy {
namespace {

constexpr std::chrono::milliseconds kPoll(10);
// A process that has failed to take over may still be on its way out.
constexpr int kReopenAttempts = 1000;

}  // namespace

Store::Store(cache::BlobStoreOptions options)
    : options_(std::move(options)), store_(std::make_shared<cache::BlobStore>(options_)) {}

std::shared_ptr<cache::BlobStore> Store::get() const {
  const std::lock_guard lock(mutex_);
  return store_;
}

void Store::release(const std::function<void()>& let_go) {
  std::shared_ptr<cache::BlobStore> store;
  {
    const std::lock_guard lock(mutex_);
    store.swap(store_);
  }
  // Nobody gets it any more, so the count only falls.
  while (store.use_count() > 1) {
    let_go();
    std::this_thread::sleep_for(kPoll);
  }
}

void Store::reopen() {
  for (int attempt = 1;; ++attempt) {
    try {
      auto store = std::make_shared<cache::BlobStore>(options_);
      const std::lock_guard lock(mutex_);
      store_ = std::move(store);
      return;
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

bool Store::remove(const oci::Digest& digest) const {
  const auto store = get();
  return store && store->remove(digest);
}

cache::StoreStats Store::stats() const {
  const auto store = get();
  return store ? store->stats() : cache::StoreStats{};
}

}  // namespace proxy

#include "cache/blob_store.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "cache/blob_writer.h"
#include "cache/files.h"
#include "cache/recovery.h"
#include "cache/store_impl.h"

namespace cache {
namespace {

base::UniqueFd lock_directory(const Layout& layout) {
  for (const auto& directory : {layout.blobs(), layout.incoming(), layout.index()}) {
    base::create_directories_durably(directory);
  }
  base::UniqueFd file = base::open_file(layout.lock(), O_RDWR | O_CREAT);
  if (!file) throw base::IoError("open " + layout.lock().string());
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw base::IoError("lock " + layout.lock().string());
    throw base::IoError(EBUSY, "the cache directory " + layout.lock().parent_path().string() +
                                   " is in use by another process");
  }
  return file;
}

// In the order of their places.
std::vector<const std::pair<const oci::Digest, IndexRecord>*> in_order(
    const std::unordered_map<oci::Digest, IndexRecord>& blobs) {
  std::vector<const std::pair<const oci::Digest, IndexRecord>*> order;
  order.reserve(blobs.size());
  for (const auto& blob : blobs) order.push_back(&blob);
  std::ranges::sort(order, {}, [](const auto* blob) { return blob->second.place.since; });
  return order;
}

}  // namespace

BlobStore::Impl::Impl(const BlobStoreOptions& options)
    : layout(options.root),
      lock(lock_directory(layout)),
      holdings({.capacity = options.capacity,
                .hot_blobs = options.hot_blobs,
                .eviction = {.small_blob = options.small_blob, .small_share = options.small_share},
                .quotas = options.quotas}) {
  Recovered recovered = recover(layout);
  index = std::move(recovered.index);
  for (const auto* blob : in_order(recovered.blobs)) holdings.load(blob->first, blob->second);
  for (const Recovered::Partial& partial : recovered.partials) {
    holdings.load_partial(partial.digest, partial.size, partial.last_used);
  }
  // Capacity and quotas may be smaller than they were. Nothing is in use yet.
  const std::lock_guard room(room_mutex);
  evict(holdings.take_above_quotas());
  LOG_IF(WARNING, !make_room(0)) << "cache: the pinned blobs take more than the capacity of "
                                 << options.capacity << " bytes; nothing else can be kept";
  const StoreStats stats = holdings.stats();
  LOG(INFO) << "cache: " << stats.blobs << " blobs of " << stats.blob_bytes << " bytes and "
            << recovered.partials.size() << " partial blobs of " << stats.reserved_bytes
            << " bytes found; room for " << stats.capacity << " bytes";
}

BlobStore::Impl::~Impl() { save_uses(); }

void BlobStore::Impl::save_uses() {
  try {
    apply({});
  } catch (const base::IoError& error) {
    LOG(ERROR) << "the uses of blobs since they were last written are lost: " << error.what();
  }
}

void BlobStore::Impl::apply(Index::Changes changes) {
  changes.use = holdings.take_uses();
  {
    const std::lock_guard lock_guard(leftover_mutex);
    changes.forget = std::exchange(forget, {});
  }
  index->apply(changes);
}

std::optional<Space::Reservation> BlobStore::Impl::make_room(uint64_t size) {
  while (true) {
    std::optional<Space::Reservation> space = holdings.try_reserve(size);
    if (space) return space;
    std::optional<std::vector<Holdings::Taken>> victims = holdings.take_victims(size);
    if (!victims) return std::nullopt;
    evict(std::move(*victims));
  }
}

bool BlobStore::Impl::fit_quota(const oci::Digest& digest, uint64_t size) {
  std::optional<std::vector<Holdings::Taken>> victims = holdings.take_own_victims(digest, size);
  if (!victims) return false;
  evict(std::move(*victims));
  return true;
}

void BlobStore::Impl::evict(std::vector<Holdings::Taken> victims) {
  if (victims.empty()) return;
  const auto blobs =
      std::ranges::count_if(victims, [](const auto& each) { return each.blob != nullptr; });
  remove_files(std::move(victims));
  holdings.count_evicted(static_cast<uint64_t>(blobs));
}

std::optional<Space::Reservation> BlobStore::Impl::space_for_write(const oci::Digest& digest,
                                                                   uint64_t size) {
  const std::lock_guard room(room_mutex);
  std::optional<Holdings::Taken> held = holdings.take(digest);
  if (held) {
    std::vector<Holdings::Taken> replaced;
    replaced.push_back(std::move(*held));
    remove_files(std::move(replaced));
  }
  std::optional<Partial> partial = holdings.take_partial(digest);
  if (partial && partial->size != size) {
    discard_partial(digest, std::move(partial->space));
    partial.reset();
  }
  std::optional<Space::Reservation> space;
  try {
    if (fit_quota(digest, size)) space = partial ? std::move(partial->space) : make_room(size);
  } catch (const base::IoError&) {
    if (partial) discard_partial(digest, std::move(partial->space));
    throw;
  }
  if (space) {
    holdings.set_reserved(digest, space->bytes());
  } else if (partial) {
    discard_partial(digest, std::move(partial->space));
  }
  return space;
}

void BlobStore::Impl::remove_files(std::vector<Holdings::Taken> taken) {
  Index::Changes changes;
  for (const Holdings::Taken& each : taken) {
    if (each.blob) changes.remove.push_back(each.digest);
  }
  if (!changes.empty()) {
    try {
      apply(changes);
    } catch (const base::IoError&) {
      holdings.put_back(std::move(taken));
      throw;
    }
  }
  base::crash_point("evict.unindexed");

  std::set<std::filesystem::path> directories;
  for (Holdings::Taken& each : taken) {
    if (each.partial) {
      discard_partial(each.digest, std::move(each.partial->space));
      continue;
    }
    const std::filesystem::path path = layout.blob(each.digest);
    try {
      remove_file(path);
      directories.insert(path.parent_path());
    } catch (const base::IoError& error) {
      LOG(ERROR) << error.what() << "; the next start will try again";
      std::erase(changes.remove, each.digest);
      const std::lock_guard lock_guard(leftover_mutex);
      undead.push_back(std::move(each));
    }
    base::crash_point("evict.unlinked");
  }
  try {
    for (const auto& directory : directories) base::sync_directory(directory);
  } catch (const base::IoError& error) {
    LOG(ERROR) << error.what();
    return;  // the tombstones stay, and cost nothing but their place
  }
  const std::lock_guard lock_guard(leftover_mutex);
  forget.insert(forget.end(), changes.remove.begin(), changes.remove.end());
}

void BlobStore::Impl::discard_partial(const oci::Digest& digest, Space::Reservation space) {
  try {
    remove_file(layout.partial(digest));
    remove_file(layout.partial_map(digest));
  } catch (const base::IoError& error) {
    LOG(ERROR) << error.what() << "; the next start will try again";
    const std::lock_guard lock_guard(leftover_mutex);
    undead.push_back({digest, nullptr, Partial{0, 0, std::move(space)}});
  }
}

void BlobStore::Impl::drop(const oci::Digest& digest, const Holdings::Pin& pin) {
  const std::lock_guard room(room_mutex);
  std::optional<Holdings::Taken> taken = holdings.take(digest, &pin);
  if (!taken) return;  // somebody else removed it, and that is why
  LOG(WARNING) << digest.str() << " is not the file of " << pin.size()
               << " bytes that the index says; dropped";
  std::vector<Holdings::Taken> dropped;
  dropped.push_back(std::move(*taken));
  remove_files(std::move(dropped));
}

BlobStore::BlobStore(const BlobStoreOptions& options) : impl_(std::make_unique<Impl>(options)) {}

BlobStore::~BlobStore() = default;

std::shared_ptr<const Blob> BlobStore::hot(const oci::Digest& digest) {
  return impl_->holdings.open_blob(digest);
}

std::shared_ptr<const Blob> BlobStore::open(const oci::Digest& digest) {
  if (impl_->holdings.many_uses()) impl_->save_uses();
  std::shared_ptr<const Blob> open_already = impl_->holdings.open_blob(digest);
  if (open_already) return open_already;

  const std::optional<Holdings::Pin> pin = impl_->holdings.pin(digest);
  if (!pin) return nullptr;
  base::UniqueFd file = base::open_file(impl_->layout.blob(digest), O_RDONLY);
  if (!file || file_size(file.get()) != pin->size()) {
    impl_->drop(digest, *pin);
    return nullptr;
  }
  return impl_->holdings.opened(*pin, std::move(file));
}

bool BlobStore::contains(const oci::Digest& digest) const {
  return impl_->holdings.contains(digest);
}

std::optional<uint64_t> BlobStore::size_of(const oci::Digest& digest) const {
  return impl_->holdings.size_of(digest);
}

std::expected<std::unique_ptr<BlobWriter>, NoWriter> BlobStore::write(const oci::Digest& digest,
                                                                      uint64_t size,
                                                                      std::string_view account) {
  impl_->holdings.begin_write(digest, account);
  try {
    std::optional<Space::Reservation> space = impl_->space_for_write(digest, size);
    if (space) return BlobWriter::open(*impl_, digest, size, std::move(*space));
  } catch (const base::IoError&) {
    impl_->holdings.end_write(digest);
    throw;
  }
  impl_->holdings.end_write(digest);
  return std::unexpected(NoWriter::no_space);
}

std::optional<uint64_t> BlobStore::partial_size(const oci::Digest& digest) const {
  return impl_->holdings.partial_size(digest);
}

bool BlobStore::remove(const oci::Digest& digest) {
  const std::lock_guard room(impl_->room_mutex);
  std::optional<Holdings::Taken> taken = impl_->holdings.take(digest);
  if (!taken) return false;
  std::vector<Holdings::Taken> removed;
  removed.push_back(std::move(*taken));
  impl_->remove_files(std::move(removed));
  impl_->holdings.set_pinned(digest, false);
  return true;
}

bool BlobStore::pin(const oci::Digest& digest, bool pinned) {
  const std::lock_guard room(impl_->room_mutex);
  if (!contains(digest)) {
    if (!pinned) impl_->holdings.set_pinned(digest, false);
    return false;
  }
  impl_->apply({.pin = {{digest, pinned}}});
  impl_->holdings.set_pinned(digest, pinned);
  return true;
}

StoreStats BlobStore::stats() const { return impl_->holdings.stats(); }

}  // namespace cache

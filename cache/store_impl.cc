#include "cache/store_impl.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "cache/blob_writer.h"
#include "cache/block_map.h"
#include "cache/files.h"
#include "cache/recovery.h"
#include "cache/tree_walk.h"

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

// Between two batches of a walk through the tree: at most some 25,000 files a second, so that disk
// and index have time for others.
constexpr std::chrono::milliseconds kWalkPause(10);
// And between two portions of what is evicted, for the same reason.
constexpr std::chrono::milliseconds kEvictPause(10);
constexpr std::chrono::seconds kKeepInterval(1);

}  // namespace

BlobStore::Impl::Impl(const BlobStoreOptions& its_options)
    : options(its_options),
      min_free(options.min_free),
      layout(options.root),
      lock(lock_directory(layout)),
      holdings({.capacity = options.capacity,
                .hot_blobs = options.hot_blobs,
                .eviction = {.small_blob = options.small_blob, .small_share = options.small_share},
                .quotas = options.quotas,
                .wall_clock = options.wall_clock}),
      scrub_rate(options.scrub_rate),
      scrub(*this) {
  Recovered recovered = recover(layout);
  index = std::move(recovered.index);
  complete = recovered.complete;
  unsynced = std::move(recovered.removed);
  set_index();
  for (const auto* blob : in_order(recovered.blobs)) holdings.load(blob->first, blob->second);
  for (const Recovered::Partial& partial : recovered.partials) {
    holdings.load_partial(partial.digest, partial.size, partial.allocated, partial.last_used,
                          partial.account);
  }
  const StoreStats stats = holdings.stats();
  LOG(INFO) << "cache: " << stats.blobs << " blobs of " << stats.blob_bytes << " bytes and "
            << recovered.partials.size() << " partial blobs of " << stats.reserved_bytes
            << " bytes found; room for " << stats.capacity << " bytes";
  // The limits may be other ones than they were. What they do not allow goes while it is served.
  floor = left_of(min_free);
  keeper = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

BlobStore::Impl::~Impl() {
  keeper.request_stop();
  keeper.join();
  save_uses(holdings.uses() / Holdings::kUsesAtOnce + 1);
}

void BlobStore::Impl::save_uses(size_t portions) {
  if (is_read_only()) return;
  try {
    for (; portions > 0; --portions) apply({});
  } catch (const base::IoError& error) {
    LOG_EVERY_T(ERROR, 60) << "uses of blobs could not be written and are lost: " << error.what();
  }
}

void BlobStore::Impl::apply(Index::Changes changes) {
  changes.use = holdings.take_uses();
  {
    const std::lock_guard lock_guard(leftover_mutex);
    changes.forget = std::exchange(forget, {});
  }
  index->apply(changes);
  set_index();
}

void BlobStore::Impl::set_index() {
  // Read and told in one: the last to tell knows the latest.
  const std::lock_guard lock_guard(leftover_mutex);
  holdings.set_index(index->pages());
}

// ---- room -----------------------------------------------------------------------------------

uint64_t BlobStore::Impl::below(uint64_t its_floor) const {
  if (its_floor == 0) return 0;
  // In this order: what the file system sets aside in between counts twice, never not at all.
  const uint64_t wanted = its_floor + holdings.unallocated();
  const uint64_t free = options.free_bytes ? options.free_bytes() : free_bytes(options.root);
  return wanted > free ? wanted - free : 0;
}

uint64_t BlobStore::Impl::left_of(uint64_t its_floor) const {
  return its_floor - std::min(its_floor, below(its_floor));
}

bool BlobStore::Impl::evict(std::optional<std::vector<Holdings::Taken>> victims) {
  if (!victims) return false;
  if (victims->empty()) return true;
  const auto blobs =
      std::ranges::count_if(*victims, [](const auto& each) { return each.blob != nullptr; });
  remove_files(std::move(*victims));
  holdings.count_evicted(static_cast<uint64_t>(blobs));
  return true;
}

std::optional<Space::Reservation> BlobStore::Impl::make_room(uint64_t bytes, Room room) {
  if (bytes > holdings.capacity()) return std::nullopt;
  // Above a capacity that was lowered, or below a floor that was raised, a blob takes what is given
  // up for it, and so makes nothing worse. The rest is for the store's thread to evict: nobody
  // waits for that.
  const uint64_t limit = holdings.limit();
  floor = std::min<uint64_t>(min_free, std::max(floor, left_of(min_free)));
  std::optional<Space::Reservation> space;
  while (!(space = holdings.try_reserve(bytes, room, limit))) {
    const auto lacking = [&](const Space::Usage&, const Space::Usage& left) {
      return left.missing(bytes, room, limit);
    };
    if (!evict(holdings.take_victims(lacking, bytes))) return std::nullopt;
  }
  // What is unlinked may take the file system a while to count as free. So this evicts what it
  // lacks, and not until it agrees.
  const uint64_t below_floor = below(floor);
  const auto lacking = [&](const Space::Usage& now, const Space::Usage& left) {
    const uint64_t gone = now.files - left.files + (now.unallocated() - left.unallocated());
    return below_floor - std::min(below_floor, gone);
  };
  if (below_floor > 0 && (!evict(holdings.take_victims(lacking, bytes)) || below(floor) > 0)) {
    return std::nullopt;
  }
  return space;
}

void BlobStore::Impl::keep_limits(const std::function<bool()>& go_on) {
  {
    const std::lock_guard room(room_mutex);
    if (!unindexed.empty()) remove_files({});
  }
  // Asked once, because what is unlinked may take the file system a while to count as free.
  uint64_t lacking = below(min_free);
  // False if there is nothing to evict.
  const auto evict_some = [&](const auto& take) {
    const std::lock_guard room(room_mutex);
    std::vector<Holdings::Taken> victims = take();
    if (victims.empty()) return false;
    for (const Holdings::Taken& each : victims) lacking -= std::min(lacking, each.file_bytes());
    return evict(std::move(victims));
  };
  while (evict_some([&] { return holdings.take_above_quotas(); })) {
    if (!go_on()) return;
  }
  while (evict_some([&] { return holdings.take_some(lacking); })) {
    if (!go_on()) return;
  }
}

std::optional<Space::Reservation> BlobStore::Impl::space_for_write(const oci::Digest& digest,
                                                                   uint64_t size) {
  const std::lock_guard room(room_mutex);
  std::erase(unindexed, digest);
  std::optional<Holdings::Taken> held = holdings.take(digest);
  if (held) {
    std::vector<Holdings::Taken> replaced;
    replaced.push_back(std::move(*held));
    remove_files(std::move(replaced));
  }
  const bool inside = fits_inside(size);
  const uint64_t bytes = inside ? Index::on_disk(size) : partial_on_disk(size);
  std::optional<Partial> partial = holdings.take_partial(digest);
  if (partial && (partial->size != size || inside)) {
    discard_partial(digest, std::move(partial->space));
    partial.reset();
  }
  std::optional<Space::Reservation> space;
  try {
    if (evict(holdings.take_own_victims(digest, bytes))) {
      space =
          partial ? std::move(partial->space) : make_room(bytes, inside ? Room::index : Room::file);
    }
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
  changes.remove = unindexed;
  std::vector<oci::Digest> unlinked = unindexed;
  for (const Holdings::Taken& each : taken) {
    if (each.blob) changes.remove.push_back(each.digest);
  }
  bool indexed = true;
  if (!changes.empty()) {
    try {
      apply(changes);
      unindexed.clear();
    } catch (const base::IoError& error) {
      if (!is_full(error)) {
        holdings.put_back(std::move(taken));
        throw;
      }
      // A full disk does not stop what makes room on it: the files go first, and the index follows
      // when it can be written again. A crash before that leaves names without files, and such a
      // name is dropped when it is looked up.
      indexed = false;
      unindexed = std::move(changes.remove);
    }
  }
  base::crash_point("evict.unindexed");

  for (Holdings::Taken& each : taken) {
    if (each.partial) {
      discard_partial(each.digest, std::move(each.partial->space));
      continue;
    }
    if (each.inside()) continue;
    try {
      remove_file(layout.blob(each.digest));
      unlinked.push_back(each.digest);
    } catch (const base::IoError& error) {
      LOG(ERROR) << error.what() << "; the next start will try again";
      const std::lock_guard lock_guard(leftover_mutex);
      undead.push_back(std::move(each));
    }
    base::crash_point("evict.unlinked");
  }
  if (!indexed) return;
  const std::lock_guard lock_guard(leftover_mutex);
  unsynced.insert(unlinked.begin(), unlinked.end());
  for (const Holdings::Taken& each : undead) unsynced.erase(each.digest);
}

void BlobStore::Impl::sync_removed(const std::stop_token& stop) {
  std::map<std::filesystem::path, bool> synced;  // by directory
  {
    const std::lock_guard lock_guard(leftover_mutex);
    syncing = std::exchange(unsynced, {});
    for (const oci::Digest& digest : syncing) synced[layout.blob(digest).parent_path()] = false;
  }
  for (auto& [directory, done] : synced) {
    if (stop.stop_requested()) break;
    try {
      base::sync_directory(directory);
      done = true;
    } catch (const base::IoError& error) {
      done = error.number() == ENOENT;
      LOG_IF(ERROR, !done) << error.what();
    }
  }
  const std::lock_guard lock_guard(leftover_mutex);
  // Other tombstones stay until the next start, and cost nothing but their place.
  for (const oci::Digest& digest : std::exchange(syncing, {})) {
    if (synced[layout.blob(digest).parent_path()]) forget.push_back(digest);
  }
}

void BlobStore::Impl::file_is_back(const oci::Digest& digest) {
  const std::lock_guard lock_guard(leftover_mutex);
  unsynced.erase(digest);
  syncing.erase(digest);
  std::erase(forget, digest);
}

std::optional<Space::Reservation> BlobStore::Impl::discard_partial(const oci::Digest& digest,
                                                                   Space::Reservation space) {
  try {
    remove_file(layout.partial(digest));
    remove_file(layout.partial_map(digest));
    return space;
  } catch (const base::IoError& error) {
    LOG(ERROR) << error.what() << "; the next start will try again";
    const std::lock_guard lock_guard(leftover_mutex);
    undead.push_back({digest, nullptr, Partial{0, 0, std::move(space)}});
    return std::nullopt;
  }
}

// ---- opening, and copies that are bad
// ----------------------------------------------------------------------

void BlobStore::Impl::drop(std::optional<Holdings::Taken> taken, const std::string& why) {
  if (!taken) return;  // somebody else removed it, and that is why
  const oci::Digest digest = taken->digest;
  ++bad_copies;
  LOG(ERROR) << "the copy of " << digest.str() << " is bad and dropped: " << why;
  std::vector<Holdings::Taken> dropped;
  dropped.push_back(std::move(*taken));
  try {
    remove_files(std::move(dropped));
  } catch (const base::IoError& error) {
    LOG(ERROR) << "it cannot be removed: " << error.what() << "; the next start may find it again";
    std::optional<Holdings::Taken> put_back = holdings.take(digest);
    const std::lock_guard lock_guard(leftover_mutex);
    if (put_back) undead.push_back(std::move(*put_back));
  }
}

std::optional<Holdings::Pin> BlobStore::Impl::pin(const oci::Digest& digest) {
  std::optional<Holdings::Pin> pin = holdings.pin(digest);
  if (pin || complete) return pin;
  adopt(digest, Queue::main);  // it is being used
  return holdings.pin(digest);
}

base::UniqueFd BlobStore::Impl::open_blob_file(const oci::Digest& digest) {
  const std::filesystem::path path = layout.blob(digest);
  try {
    return base::open_file(path, O_RDONLY);
  } catch (const base::IoError& error) {
    if (!is_out_of_descriptors(error)) throw;
  }
  holdings.cool();
  return base::open_file(path, O_RDONLY);
}

std::shared_ptr<const Blob> BlobStore::Impl::open_pinned(const oci::Digest& digest,
                                                         const Holdings::Pin& pin) {
  std::string why;
  try {
    if (pin.inside()) {
      std::optional<std::string> bytes = index->content(digest);
      // Nobody hashes them again, and of contents the index has no checksums.
      if (bytes && oci::Digest::of(digest.algorithm(), *bytes) == digest) {
        return holdings.opened(pin, std::move(*bytes));
      }
      why = bytes ? "the index has other bytes" : "the index does not have its bytes";
    } else {
      base::UniqueFd file = open_blob_file(digest);
      if (file && file_size(file.get()) == pin.size()) return holdings.opened(pin, std::move(file));
      why = "not the file of " + std::to_string(pin.size()) + " bytes that the index says";
    }
  } catch (const base::IoError& error) {
    if (!base::is_file_error(error.number())) throw;
    why = error.what();
  }
  const std::lock_guard room(room_mutex);
  drop(holdings.take(digest, &pin), why);
  return nullptr;
}

// ---- writes that fail -------------------------------------------------------------------------

bool BlobStore::Impl::is_read_only() const {
  const std::lock_guard lock_guard(leftover_mutex);
  return read_only_since && options.clock->now() < *read_only_since + kReadOnlyPause;
}

NoWriter BlobStore::Impl::write_failed(const base::IoError& error) {
  if (is_full(error)) return NoWriter::no_space;
  if (error.number() != EROFS) return NoWriter::storage_failed;
  const std::lock_guard lock_guard(leftover_mutex);
  LOG_IF(ERROR, !read_only_since)
      << error.what() << "; nothing new is stored until it can be written again, which is tried "
      << "every " << kReadOnlyPause.count() << " seconds; what is held is served";
  read_only_since = options.clock->now();
  return NoWriter::read_only;
}

void BlobStore::Impl::write_succeeded() {
  const std::lock_guard lock_guard(leftover_mutex);
  LOG_IF(INFO, read_only_since.has_value()) << "the cache directory can be written again";
  read_only_since.reset();
}

std::expected<std::unique_ptr<BlobWriter>, NoWriter> BlobStore::Impl::open_writer(
    const oci::Digest& digest, uint64_t size) {
  for (bool again = false;; again = true) {
    std::optional<Space::Reservation> space = space_for_write(digest, size);
    if (!space) return std::unexpected(NoWriter::no_space);
    try {
      return BlobWriter::open(*this, digest, size, std::move(*space));
    } catch (const base::IoError& error) {
      if (again || !(is_full(error) || is_out_of_descriptors(error))) throw;
      if (is_out_of_descriptors(error)) holdings.cool();
      if (is_full(error)) {
        // There is less room than the file system says, or a quota is smaller than the capacity.
        const std::lock_guard room(room_mutex);
        if (!evict(holdings.take_victims(partial_on_disk(size), size))) throw;
      }
    }
  }
}

// ---- the thread of the store ------------------------------------------------------------------

bool BlobStore::Impl::pause(const std::stop_token& stop, std::chrono::milliseconds time) {
  std::unique_lock pausing(pause_mutex);
  paused.wait_for(pausing, stop, time, [] { return false; });
  return !stop.stop_requested();
}

void BlobStore::Impl::keep(const std::stop_token& stop) {
  if (!complete) read_tree(stop);
  do {
    tidy(stop);
    scrub_or_log(stop);
  } while (pause(stop, kKeepInterval));
}

void BlobStore::Impl::tidy(const std::stop_token& stop) {
  keep_limits_or_log([&] { return pause(stop, kEvictPause); });
  sync_removed(stop);
  // Those that there are, and not those that come meanwhile.
  save_uses(holdings.uses() / Holdings::kUsesAtOnce);
}

void BlobStore::Impl::scrub_or_log(const std::stop_token& stop) {
  const std::lock_guard scrubbing(scrub_mutex);
  try {
    scrub.run(scrub_rate, [&] { return !stop.stop_requested(); });
  } catch (const base::IoError& error) {
    LOG_EVERY_T(ERROR, 60) << "held blobs cannot be read again: " << error.what();
  }
}

void BlobStore::Impl::keep_limits_or_log(const std::function<bool()>& go_on) {
  try {
    keep_limits(go_on);
  } catch (const base::IoError& error) {
    write_failed(error);
    LOG_EVERY_T(ERROR, 60) << "room cannot be made in the cache: " << error.what();
  }
}

void BlobStore::Impl::read_tree(const std::stop_token& stop) {
  try {
    const bool all = walk_tree(layout, [&](const std::vector<oci::Digest>& found) {
      base::fault_point("walk.batch");
      adopt_all(found);
      index_found(found);
      tidy(stop);
      return pause(stop, kWalkPause);
    });
    if (!all) return;
    apply({.complete = true});
    complete = true;
    const StoreStats stats = holdings.stats();
    LOG(INFO) << "cache: the tree is read; " << stats.blobs << " blobs of " << stats.blob_bytes
              << " bytes are held";
  } catch (const base::IoError& error) {
    LOG(ERROR) << "the cache's tree cannot be read: " << error.what() << "; what is not in the "
               << "index is looked for by name, and the next start will read the tree again";
  }
}

void BlobStore::Impl::adopt_all(const std::vector<oci::Digest>& digests) {
  std::vector<std::pair<oci::Digest, IndexRecord>> found;
  for (const oci::Digest& digest : digests) {
    if (const auto file = file_facts(layout.blob(digest))) {
      found.emplace_back(digest, record_of(*file));
    }
  }
  std::vector<Unplaced> unplaced;
  unplaced.reserve(found.size());
  for (auto& [digest, record] : found) unplaced.push_back({record.size, &record.place});
  // The files of a few directories are as old and young as all are.
  guess_queues(std::move(unplaced));
  std::ranges::sort(found, {}, [](const auto& each) { return each.second.place.since; });
  for (const auto& [digest, record] : found) adopt(digest, record.place.queue);
}

void BlobStore::Impl::adopt(const oci::Digest& digest, Queue queue) {
  const std::filesystem::path path = layout.blob(digest);
  // The disk is waited for here, and not under the lock.
  if (!file_facts(path)) return;
  const std::lock_guard room(room_mutex);
  {
    const std::lock_guard lock_guard(leftover_mutex);
    const bool was_removed =
        std::ranges::find(undead, digest, &Holdings::Taken::digest) != undead.end();
    if (was_removed) return;
  }
  // What is in its place was verified before it got there.
  const std::optional<FileFacts> file = file_facts(path);
  if (!file) return;
  IndexRecord record = record_of(*file);
  record.place.queue = queue;
  holdings.load_found(digest, record);
}

void BlobStore::Impl::index_found(const std::vector<oci::Digest>& found) {
  // Nothing is removed meanwhile, so the index gets no name that is not held.
  const std::lock_guard room(room_mutex);
  Index::Changes changes;
  for (const oci::Digest& digest : found) {
    const std::optional<IndexRecord> record = holdings.record_of(digest);
    if (record && !record->inside) changes.put.emplace_back(digest, *record);
  }
  apply(changes);
}

}  // namespace cache

#include "cache/holdings.h"

#include <fcntl.h>
#include <glog/logging.h>

#include <algorithm>

#include "base/durable_file.h"
#include "base/error.h"
#include "cache/block_map.h"
#include "cache/files.h"

namespace cache {
namespace {

// Last uses are written with whatever is written next, or on their own when there are this many.
constexpr size_t kManyUses = 1024;

}  // namespace

class Holdings::OpenBlob final : public Blob {
 public:
  OpenBlob(const IndexRecord& record, std::shared_ptr<const Space::Reservation> space,
           OpenContent content)
      : record_(record), space_(std::move(space)), content_(std::move(content)) {}
  int fd() const override {
    const auto* file = std::get_if<base::UniqueFd>(&content_);
    return file == nullptr ? -1 : file->get();
  }
  std::optional<std::string_view> bytes() const override {
    const auto* bytes = std::get_if<std::string>(&content_);
    return bytes == nullptr ? std::nullopt : std::optional<std::string_view>(*bytes);
  }
  base::UniqueFd duplicate() const override {
    base::UniqueFd copy;
    if (const auto in_memory = bytes()) {
      copy = memory_file(in_memory->size());
      base::write_at(copy.get(), 0, *in_memory);
    } else {
      copy.reset(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
      if (!copy) throw base::IoError("dup");
    }
    return copy;
  }
  uint64_t size() const override { return record_.size; }
  int64_t stored_at() const override { return record_.stored_at; }

 private:
  const IndexRecord record_;
  // Shared with the entry: an unlinked file takes space until its last reader has closed it.
  const std::shared_ptr<const Space::Reservation> space_;
  const OpenContent content_;  // after space_: closed before the space is given back
};

struct Holdings::Entry {
  oci::Digest digest;
  IndexRecord record;
  std::shared_ptr<const Space::Reservation> space;
  std::weak_ptr<const OpenBlob> open;
  std::shared_ptr<const OpenBlob> hot;
  std::list<Entry*>::iterator hot_place;  // if hot
  unsigned opening = 0;                   // pins
  bool used = false;                      // is in used_
};

bool Holdings::Taken::inside() const { return blob && blob->record.inside; }

Holdings::Pin::~Pin() {
  if (!entry_) return;
  const std::lock_guard lock(holdings_->mutex_);
  --entry_->opening;
}

uint64_t Holdings::Pin::size() const { return entry_->record.size; }
bool Holdings::Pin::inside() const { return entry_->record.inside; }

Holdings::Holdings(uint64_t capacity, size_t hot_blobs, WallClock wall_clock)
    : hot_blobs_(hot_blobs), wall_clock_(std::move(wall_clock)), space_(capacity) {}

Holdings::~Holdings() { CHECK(writing_.empty()) << "BlobStore destroyed before a BlobWriter"; }

void Holdings::load(const oci::Digest& digest, const IndexRecord& record) {
  const std::lock_guard lock(mutex_);
  load_locked(digest, record);
}

bool Holdings::load_found(const oci::Digest& digest, const IndexRecord& record) {
  const std::lock_guard lock(mutex_);
  if (blobs_.contains(digest) || writing_.contains(digest)) return false;
  load_locked(digest, record);
  return true;
}

void Holdings::load_partial(const oci::Digest& digest, uint64_t size, uint64_t allocated,
                            int64_t last_used) {
  const uint64_t bytes = partial_on_disk(size);
  const std::lock_guard lock(mutex_);
  insert_partial(digest,
                 {size, last_used, space_.cover(bytes, bytes - std::min(allocated, bytes))});
}

// ---- blobs ----------------------------------------------------------------------------------

std::shared_ptr<const Blob> Holdings::open_blob(const oci::Digest& digest) {
  std::shared_ptr<const OpenBlob> cooled;
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return nullptr;
  Entry& entry = *found->second;
  std::shared_ptr<const OpenBlob> blob = entry.open.lock();
  if (!blob) return nullptr;
  touch(entry);
  cooled = make_hot(entry, blob);
  return blob;
}

std::optional<Holdings::Pin> Holdings::pin(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  ++found->second->opening;
  return Pin(this, found->second);
}

std::shared_ptr<const Blob> Holdings::opened(const Pin& pin, OpenContent content) {
  std::shared_ptr<const OpenBlob> cooled;
  const std::lock_guard lock(mutex_);
  Entry& entry = *pin.entry_;
  std::shared_ptr<const OpenBlob> blob = entry.open.lock();
  if (!blob) {
    blob = std::make_shared<OpenBlob>(entry.record, entry.space, std::move(content));
    entry.open = blob;
  }
  // The blob may have been removed since it was pinned; its bytes are good all the same.
  const auto found = blobs_.find(entry.digest);
  if (found != blobs_.end() && found->second == pin.entry_) {
    touch(entry);
    cooled = make_hot(entry, blob);
  }
  return blob;
}

std::shared_ptr<const Blob> Holdings::admit(const oci::Digest& digest, const IndexRecord& record,
                                            Space::Reservation space, OpenContent content) {
  auto shared_space = std::make_shared<Space::Reservation>(std::move(space));
  auto blob = std::make_shared<const OpenBlob>(record, shared_space, std::move(content));
  std::shared_ptr<const OpenBlob> cooled;
  const std::lock_guard lock(mutex_);
  CHECK_EQ(writing_.erase(digest), 1U) << digest.str();
  auto entry = std::make_shared<Entry>(digest, record, std::move(shared_space), blob);
  insert(entry);
  touch(*entry);
  cooled = make_hot(*entry, blob);
  return blob;
}

bool Holdings::contains(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  return blobs_.contains(digest);
}

std::optional<IndexRecord> Holdings::record_of(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  return found->second->record;
}

void Holdings::cool() {
  std::vector<std::shared_ptr<const OpenBlob>> cooled;
  const std::lock_guard lock(mutex_);
  for (Entry* entry : hot_) cooled.push_back(std::move(entry->hot));
  hot_.clear();
}

// ---- partial blobs and writers --------------------------------------------------------------

void Holdings::begin_write(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  CHECK(writing_.emplace(digest, 0).second) << "two writers of " << digest.str();
}

void Holdings::set_reserved(const oci::Digest& digest, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  writing_.at(digest) = bytes;
}

void Holdings::end_write(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  CHECK_EQ(writing_.erase(digest), 1U) << digest.str();
}

std::optional<Partial> Holdings::take_partial(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (!partials_.contains(digest)) return std::nullopt;
  return take_out(digest).partial;
}

void Holdings::put_aside(const oci::Digest& digest, uint64_t size, Space::Reservation space) {
  const std::lock_guard lock(mutex_);
  CHECK_EQ(writing_.erase(digest), 1U) << digest.str();
  insert_partial(digest, {size, next_use(), std::move(space)});
}

std::optional<uint64_t> Holdings::partial_size(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = partials_.find(digest);
  if (found == partials_.end()) return std::nullopt;
  return found->second.size;
}

// ---- space ----------------------------------------------------------------------------------

std::optional<std::vector<Holdings::Taken>> Holdings::take_victims(uint64_t bytes,
                                                                   bool as_far_as_possible) {
  const std::lock_guard lock(mutex_);
  std::vector<Eviction::Candidate> chosen;
  for (uint64_t freed = 0; freed < bytes;) {
    const auto victim = eviction_.pop_victim([&](const oci::Digest& d) { return in_use(d); });
    if (!victim && as_far_as_possible && !chosen.empty()) break;
    if (!victim) {
      for (const Eviction::Candidate& candidate : chosen) eviction_.insert(candidate);
      return std::nullopt;
    }
    freed += victim->bytes;
    chosen.push_back(*victim);
  }
  std::vector<Taken> taken;
  taken.reserve(chosen.size());
  for (const Eviction::Candidate& victim : chosen) taken.push_back(take_out(victim.digest));
  return taken;
}

std::optional<Holdings::Taken> Holdings::take(const oci::Digest& digest, const Pin* pin) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end() || (pin != nullptr && found->second != pin->entry_)) {
    return std::nullopt;
  }
  return take_out(digest);
}

std::optional<Holdings::Taken> Holdings::take_opened(const oci::Digest& digest, const Blob& blob) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end() || found->second->open.lock().get() != &blob) return std::nullopt;
  return take_out(digest);
}

void Holdings::put_back(std::vector<Taken> taken) {
  const std::lock_guard lock(mutex_);
  for (Taken& each : taken) {
    if (each.blob) {
      insert(std::move(each.blob));
    } else {
      insert_partial(each.digest, std::move(*each.partial));
    }
  }
}

void Holdings::count_evicted(uint64_t blobs) {
  const std::lock_guard lock(mutex_);
  evicted_ += blobs;
}

void Holdings::set_index_room(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes != index_room_.bytes()) index_room_ = space_.cover(bytes);
}

// ---- last uses ------------------------------------------------------------------------------

bool Holdings::many_uses() const {
  const std::lock_guard lock(mutex_);
  return used_.size() >= kManyUses;
}

std::vector<std::pair<oci::Digest, int64_t>> Holdings::take_uses() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<oci::Digest, int64_t>> uses;
  for (const oci::Digest& digest : used_) {
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) continue;
    Entry& entry = *found->second;
    entry.used = false;
    uses.emplace_back(digest, entry.record.last_used);
  }
  used_.clear();
  return uses;
}

StoreStats Holdings::stats() const {
  const std::lock_guard lock(mutex_);
  StoreStats stats{.blobs = blobs_.size(),
                   .blob_bytes = blob_bytes_,
                   .index_bytes = index_room_.bytes(),
                   .capacity = space_.capacity(),
                   .evicted = evicted_};
  for (const auto& [digest, bytes] : writing_) stats.reserved_bytes += bytes;
  for (const auto& [digest, partial] : partials_) stats.reserved_bytes += partial.space.bytes();
  // Never negative: what leaves the holdings gives its space back later.
  stats.unlinked_bytes =
      space_.used() - stats.blob_bytes - stats.reserved_bytes - stats.index_bytes;
  return stats;
}

// ---- with mutex_ held -----------------------------------------------------------------------

bool Holdings::in_use(const oci::Digest& digest) const {
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return false;  // an idle partial blob
  const Entry& entry = *found->second;
  // Exact: a first reference from outside is only ever made under mutex_.
  return entry.opening > 0 || entry.open.use_count() > (entry.hot ? 1 : 0);
}

void Holdings::load_locked(const oci::Digest& digest, const IndexRecord& record) {
  last_use_ = std::max(last_use_, record.last_used);
  const uint64_t bytes = record.inside ? Index::on_disk(record.size) : Space::on_disk(record.size);
  insert(std::make_shared<Entry>(digest, record,
                                 std::make_shared<Space::Reservation>(space_.cover(bytes))));
}

// Strictly increasing, so that the order of eviction is exact and survives a restart.
int64_t Holdings::next_use() { return last_use_ = std::max(wall_clock_(), last_use_ + 1); }

void Holdings::touch(Entry& entry) {
  entry.record.last_used = next_use();
  eviction_.touch(entry.digest, entry.record.last_used);
  if (!entry.used) used_.push_back(entry.digest);
  entry.used = true;
}

// Returns the blob that is hot no longer: its file is closed when the caller has unlocked.
std::shared_ptr<const Holdings::OpenBlob> Holdings::make_hot(Entry& entry,
                                                             std::shared_ptr<const OpenBlob> blob) {
  if (entry.hot) {
    hot_.splice(hot_.begin(), hot_, entry.hot_place);
    return nullptr;
  }
  entry.hot = std::move(blob);
  entry.hot_place = hot_.insert(hot_.begin(), &entry);
  if (hot_.size() <= hot_blobs_) return nullptr;
  Entry& last = *hot_.back();
  hot_.pop_back();
  return std::move(last.hot);
}

void Holdings::insert(std::shared_ptr<Entry> entry) {
  eviction_.insert({entry->digest, entry->space->bytes(), entry->record.last_used});
  blob_bytes_ += entry->space->bytes();
  const oci::Digest digest = entry->digest;
  CHECK(blobs_.emplace(digest, std::move(entry)).second) << digest.str();
}

void Holdings::insert_partial(const oci::Digest& digest, Partial partial) {
  last_use_ = std::max(last_use_, partial.last_used);
  eviction_.insert({digest, partial.space.bytes(), partial.last_used});
  partials_.emplace(digest, std::move(partial));
}

Holdings::Taken Holdings::take_out(const oci::Digest& digest) {
  eviction_.remove(digest);
  const auto partial = partials_.find(digest);
  if (partial != partials_.end()) {
    Taken taken{digest, nullptr, std::move(partial->second)};
    partials_.erase(partial);
    return taken;
  }
  const auto blob = blobs_.find(digest);
  Taken taken{digest, std::move(blob->second), std::nullopt};
  blobs_.erase(blob);
  Entry& entry = *taken.blob;
  blob_bytes_ -= entry.space->bytes();
  if (entry.hot) hot_.erase(entry.hot_place);
  entry.hot.reset();
  return taken;
}

}  // namespace cache

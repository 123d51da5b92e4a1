#include "cache/holdings.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>
#include <ranges>

#include "cache/block_map.h"

namespace cache {
namespace {

constexpr uint64_t kNoQuota = std::numeric_limits<uint64_t>::max();

Room room_of(const IndexRecord& record) { return record.inside ? Room::index : Room::file; }

// How much of so many bytes has not gone yet, of all files.
uint64_t left_to_go(uint64_t bytes, const Space::Usage& now, const Space::Usage& left) {
  return bytes - std::min(bytes, now.files - left.files);
}

}  // namespace

struct Holdings::Entry {
  Entry(const oci::Digest& its_digest, IndexRecord its_record,
        std::shared_ptr<const Space::Reservation> its_space, Account& its_account)
      : digest(its_digest),
        record(std::move(its_record)),
        space(std::move(its_space)),
        account(its_account),
        item(digest, space->bytes(), account.number, record.place, room_of(record)) {}

  const oci::Digest digest;
  IndexRecord record;
  const std::shared_ptr<const Space::Reservation> space;
  Account& account;
  Eviction::Item item;
  OpenBlobs::State open;
};

struct Holdings::IdlePartial {
  IdlePartial(const oci::Digest& its_digest, Partial its_partial, Account& its_account)
      : digest(its_digest),
        partial(std::move(its_partial)),
        account(its_account),
        item(digest, partial.space.bytes(), account.number, partial.place) {}

  const oci::Digest digest;
  Partial partial;
  Account& account;
  Eviction::Item item;
};

bool Holdings::Taken::inside() const { return blob && blob->record.inside; }
uint64_t Holdings::Taken::file_bytes() const {
  if (!blob) return partial->space.bytes();
  return inside() ? 0 : blob->space->bytes();
}

Holdings::Pin::~Pin() {
  if (!entry_) return;
  const std::lock_guard lock(holdings_->mutex_);
  --entry_->open.opening;
}

uint64_t Holdings::Pin::size() const { return entry_->record.size; }
bool Holdings::Pin::inside() const { return entry_->record.inside; }

Holdings::Holdings(const HoldingsOptions& options)
    : wall_clock_(options.wall_clock),
      space_(options.capacity),
      eviction_(options.capacity, options.eviction),
      open_(options.hot_blobs) {
  set_limits(options.capacity, options.quotas);
}

Holdings::~Holdings() { CHECK(writing_.empty()) << "BlobStore destroyed before a BlobWriter"; }

void Holdings::set_limits(uint64_t capacity, const Quotas& quotas) {
  const std::lock_guard lock(mutex_);
  space_.set_capacity(capacity);
  eviction_.set_capacity(capacity);
  for (const auto& [name, quota] : quotas) account_named(name);
  for (auto& [name, account] : accounts_) {
    const auto found = quotas.find(name);
    account.quota = found == quotas.end() ? kNoQuota : found->second;
    eviction_.set_quota(account.number, account.quota);
  }
}

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
                            int64_t last_used, const std::string& account) {
  const uint64_t bytes = partial_on_disk(size);
  const std::lock_guard lock(mutex_);
  last_use_ = std::max(last_use_, last_used);
  Space::Reservation space =
      space_.cover_found(bytes, Room::file, bytes - std::min(allocated, bytes));
  IdlePartial& idle =
      add_partial(digest, {size, last_used, std::move(space), account, {.since = last_used}});
  eviction_.restore(idle.item);
}

// ---- blobs ----------------------------------------------------------------------------------

std::shared_ptr<const Blob> Holdings::open_blob(const oci::Digest& digest) {
  std::shared_ptr<const Blob> cooled;
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return nullptr;
  Entry& entry = *found->second;
  std::shared_ptr<const Blob> blob = entry.open.blob.lock();
  if (!blob) return nullptr;
  touch(entry);
  cooled = open_.make_hot(entry.open, blob);
  return blob;
}

std::optional<Holdings::Pin> Holdings::pin(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  ++found->second->open.opening;
  return Pin(this, found->second);
}

std::shared_ptr<const Blob> Holdings::opened(const Pin& pin, OpenContent content) {
  std::shared_ptr<const Blob> cooled;
  const std::lock_guard lock(mutex_);
  Entry& entry = *pin.entry_;
  std::shared_ptr<const Blob> blob = entry.open.blob.lock();
  if (!blob) {
    blob = make_open_blob(entry.record, entry.space, std::move(content));
    entry.open.blob = blob;
  }
  // The blob may have been removed since it was pinned; its bytes are good all the same.
  const auto found = blobs_.find(entry.digest);
  if (found != blobs_.end() && found->second == pin.entry_) {
    touch(entry);
    cooled = open_.make_hot(entry.open, blob);
  }
  return blob;
}

std::shared_ptr<const Blob> Holdings::admit(const oci::Digest& digest, const IndexRecord& record,
                                            Space::Reservation space, OpenContent content) {
  auto shared_space = std::make_shared<Space::Reservation>(std::move(space));
  std::shared_ptr<const Blob> blob = make_open_blob(record, shared_space, std::move(content));
  std::shared_ptr<const Blob> cooled;
  const std::lock_guard lock(mutex_);
  Account& account = end_writing(digest);
  auto entry = std::make_shared<Entry>(digest, record, std::move(shared_space), account);
  entry->open.blob = blob;
  eviction_.insert(entry->item, record.place.since);
  lost_pins_.erase(digest);
  cooled = open_.make_hot(entry->open, blob);
  add(std::move(entry));
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
  std::vector<std::shared_ptr<const Blob>> cooled;
  const std::lock_guard lock(mutex_);
  cooled = open_.cool_all();
}

std::optional<BlobInfo> Holdings::info(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  const IndexRecord& record = found->second->record;
  return BlobInfo{.size = record.size,
                  .account = record.account,
                  .stored_at = record.stored_at,
                  .last_used = record.last_used / 1'000'000,
                  .pinned = found->second->item.place().pinned};
}

std::vector<oci::Digest> Holdings::blobs_of(std::string_view account) const {
  const std::lock_guard lock(mutex_);
  std::vector<oci::Digest> digests;
  for (const auto& [digest, entry] : blobs_) {
    if (entry->record.account == account) digests.push_back(digest);
  }
  for (const auto& [digest, idle] : partials_) {
    if (idle.partial.account == account) digests.push_back(digest);
  }
  return digests;
}

// ---- partial blobs and writers --------------------------------------------------------------

void Holdings::begin_write(const oci::Digest& digest, std::string_view account) {
  const std::lock_guard lock(mutex_);
  const bool alone = writing_.emplace(digest, Writing{0, account_named(account)}).second;
  CHECK(alone) << "two writers of " << digest.str();
}

void Holdings::set_reserved(const oci::Digest& digest, uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  Writing& writing = writing_.at(digest);
  writing.account.second.bytes += bytes - writing.bytes;
  writing.bytes = bytes;
}

void Holdings::end_write(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  end_writing(digest);
}

std::string Holdings::account_of_writer(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  return writing_.at(digest).account.first;
}

std::optional<Partial> Holdings::take_partial(const oci::Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (!partials_.contains(digest)) return std::nullopt;
  return std::move(take_out(digest).partial);
}

void Holdings::put_aside(const oci::Digest& digest, uint64_t size, Space::Reservation space) {
  const std::lock_guard lock(mutex_);
  const std::string account = writing_.at(digest).account.first;
  end_writing(digest);
  const int64_t now = next_use();
  IdlePartial& idle = add_partial(digest, {size, now, std::move(space), account});
  eviction_.insert(idle.item, now);
}

std::optional<uint64_t> Holdings::partial_size(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = partials_.find(digest);
  if (found == partials_.end()) return std::nullopt;
  return found->second.partial.size;
}

// ---- space ----------------------------------------------------------------------------------

std::optional<std::vector<Holdings::Taken>> Holdings::take_victims(const Lacking& lacking,
                                                                   uint64_t newcomer) {
  const std::lock_guard lock(mutex_);
  return take_chosen(lacking, [&](bool inside_too) {
    return eviction_.pop_victim(newcomer, in_use(), inside_too);
  });
}

std::optional<std::vector<Holdings::Taken>> Holdings::take_victims(uint64_t bytes,
                                                                   uint64_t newcomer) {
  return take_victims(
      [bytes](const auto& now, const auto& left) { return left_to_go(bytes, now, left); },
      newcomer);
}

std::optional<std::vector<Holdings::Taken>> Holdings::take_own_victims(const oci::Digest& writing,
                                                                       uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const Account& account = writing_.at(writing).account.second;
  if (bytes > account.quota) return std::nullopt;
  const uint64_t room = account.quota - std::min(account.quota, account.bytes);
  const uint64_t beyond = bytes - std::min(bytes, room);
  // A quota is of what blobs take, wherever that is.
  return take_chosen(
      [beyond](const auto& now, const auto& left) {
        const uint64_t gone = now.files + now.inside - left.files - left.inside;
        return beyond - std::min(beyond, gone);
      },
      [&](bool) { return eviction_.pop_victim_of(account.number, bytes, in_use()); });
}

std::vector<Holdings::Taken> Holdings::take_some(uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  std::vector<Eviction::Item*> chosen;
  choose(
      [&](const auto& now, const auto& left) {
        return std::max(above_capacity(left), left_to_go(bytes, now, left));
      },
      [&](bool inside_too) { return eviction_.pop_victim(0, in_use(), inside_too); }, kMostAtOnce,
      chosen);
  std::vector<Taken> taken;
  taken.reserve(chosen.size());
  for (const Eviction::Item* victim : chosen) taken.push_back(take_out(victim->digest()));
  return taken;
}

std::vector<Holdings::Taken> Holdings::take_above_quotas() {
  const std::lock_guard lock(mutex_);
  std::vector<Taken> taken;
  for (const auto& [name, account] : accounts_) {
    while (account.bytes > account.quota && taken.size() < kMostAtOnce) {
      const Eviction::Item* victim = eviction_.pop_victim_of(account.number, 0, in_use());
      if (victim == nullptr) break;
      taken.push_back(take_out(victim->digest()));
    }
  }
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
  if (found == blobs_.end() || found->second->open.blob.lock().get() != &blob) return std::nullopt;
  return take_out(digest);
}

void Holdings::put_back(std::vector<Taken> taken) {
  const std::lock_guard lock(mutex_);
  for (Taken& each : std::views::reverse(taken)) {
    if (each.blob) {
      eviction_.put_back(each.blob->item);
      add(std::move(each.blob));
    } else {
      eviction_.put_back(add_partial(each.digest, std::move(*each.partial)).item);
    }
  }
}

void Holdings::count_evicted(uint64_t blobs) {
  const std::lock_guard lock(mutex_);
  evicted_ += blobs;
}

void Holdings::set_pinned(const oci::Digest& digest, bool pinned) {
  const std::lock_guard lock(mutex_);
  lost_pins_.erase(digest);
  const auto found = blobs_.find(digest);
  if (found != blobs_.end()) eviction_.set_pinned(found->second->item, pinned);
}

bool Holdings::is_to_be_pinned(const oci::Digest& digest) const {
  const std::lock_guard lock(mutex_);
  return lost_pins_.contains(digest);
}

// ---- uses and places ------------------------------------------------------------------------

int64_t Holdings::stamp() {
  const std::lock_guard lock(mutex_);
  return next_use();
}

size_t Holdings::uses() const {
  const std::lock_guard lock(mutex_);
  return eviction_.changed();
}

std::vector<std::pair<oci::Digest, Index::Use>> Holdings::take_uses() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<oci::Digest, Index::Use>> uses;
  for (const Eviction::Item* item : eviction_.take_changed(kUsesAtOnce)) {
    const auto found = blobs_.find(item->digest());
    if (found == blobs_.end()) continue;  // a partial blob
    uses.emplace_back(item->digest(), Index::Use{found->second->record.last_used, item->place()});
  }
  return uses;
}

StoreStats Holdings::stats() const {
  const std::lock_guard lock(mutex_);
  const Space::Usage usage = space_.usage();
  StoreStats stats{.blobs = blobs_.size(),
                   .blob_bytes = blob_bytes_,
                   .index_bytes = usage.index() - usage.inside,
                   .capacity = space_.capacity(),
                   .evicted = evicted_};
  for (const auto& [digest, writing] : writing_) stats.reserved_bytes += writing.bytes;
  for (const auto& [digest, idle] : partials_) stats.reserved_bytes += idle.item.bytes();
  for (const auto& [name, account] : accounts_) {
    AccountStats& one = stats.accounts[name];
    one = {.blobs = account.blobs, .bytes = account.bytes};
    if (account.quota != kNoQuota) one.quota = account.quota;
  }
  // Never negative: what leaves the holdings gives its space back later.
  stats.unlinked_bytes = usage.files + usage.inside - stats.blob_bytes - stats.reserved_bytes;
  return stats;
}

// ---- with mutex_ held -----------------------------------------------------------------------

std::map<std::string, Holdings::Account, std::less<>>::value_type& Holdings::account_named(
    std::string_view name) {
  const auto found = accounts_.find(name);
  if (found != accounts_.end()) return *found;
  return *accounts_.emplace(name, Account{kNoQuota, eviction_.add_account(kNoQuota)}).first;
}

Eviction::InUse Holdings::in_use() const {
  return [this](const Eviction::Item& item) {
    const auto found = blobs_.find(item.digest());
    return found != blobs_.end() && found->second->open.in_use();  // else an idle partial blob
  };
}

bool Holdings::choose(const Lacking& lacking, const PopVictim& pop_victim, size_t most,
                      std::vector<Eviction::Item*>& chosen) const {
  const Space::Usage now = space_.usage();
  Space::Usage left = now;
  for (uint64_t still = lacking(now, left); still > 0; still = lacking(now, left)) {
    Space::Usage without_inside = left;
    without_inside.remove(left.inside, Room::index);
    Eviction::Item* victim =
        chosen.size() < most ? pop_victim(lacking(now, without_inside) < still) : nullptr;
    if (victim == nullptr) return false;
    left.remove(victim->bytes(), victim->room());
    chosen.push_back(victim);
  }
  return true;
}

std::optional<std::vector<Holdings::Taken>> Holdings::take_chosen(const Lacking& lacking,
                                                                  const PopVictim& pop_victim) {
  std::vector<Eviction::Item*> chosen;
  if (!choose(lacking, pop_victim, std::numeric_limits<size_t>::max(), chosen)) {
    for (Eviction::Item* item : std::views::reverse(chosen)) eviction_.put_back(*item);
    return std::nullopt;
  }
  std::vector<Taken> taken;
  taken.reserve(chosen.size());
  for (const Eviction::Item* victim : chosen) taken.push_back(take_out(victim->digest()));
  return taken;
}

Holdings::Account& Holdings::end_writing(const oci::Digest& digest) {
  const auto found = writing_.find(digest);
  CHECK(found != writing_.end()) << digest.str();
  Account& account = found->second.account.second;
  account.bytes -= found->second.bytes;
  writing_.erase(found);
  return account;
}

void Holdings::load_locked(const oci::Digest& digest, const IndexRecord& record) {
  last_use_ = std::max(last_use_, record.last_used);
  const uint64_t bytes = record.inside ? Index::on_disk(record.size) : Space::on_disk(record.size);
  Account& account = account_named(record.account).second;
  auto space = std::make_shared<Space::Reservation>(space_.cover_found(bytes, room_of(record)));
  auto entry = std::make_shared<Entry>(digest, record, std::move(space), account);
  eviction_.restore(entry->item);
  add(std::move(entry));
}

// Strictly increasing, so that the order of eviction is exact and survives a restart.
int64_t Holdings::next_use() { return last_use_ = std::max(wall_clock_(), last_use_ + 1); }

void Holdings::touch(Entry& entry) {
  entry.record.last_used = next_use();
  eviction_.touch(entry.item);
}

void Holdings::add(std::shared_ptr<Entry> entry) {
  const uint64_t bytes = entry->space->bytes();
  blob_bytes_ += bytes;
  entry->account.bytes += bytes;
  ++entry->account.blobs;
  const oci::Digest digest = entry->digest;
  CHECK(blobs_.emplace(digest, std::move(entry)).second) << digest.str();
}

Holdings::IdlePartial& Holdings::add_partial(const oci::Digest& digest, Partial partial) {
  Account& account = account_named(partial.account).second;
  account.bytes += partial.space.bytes();
  return partials_.try_emplace(digest, digest, std::move(partial), account).first->second;
}

Holdings::Taken Holdings::take_out(const oci::Digest& digest) {
  const auto idle = partials_.find(digest);
  if (idle != partials_.end()) {
    IdlePartial& found = idle->second;
    eviction_.remove(found.item);
    found.account.bytes -= found.item.bytes();
    Taken taken{digest, nullptr, std::move(found.partial)};
    partials_.erase(idle);
    return taken;
  }
  const auto blob = blobs_.find(digest);
  Taken taken{digest, std::move(blob->second), std::nullopt};
  blobs_.erase(blob);
  Entry& entry = *taken.blob;
  eviction_.remove(entry.item);
  if (entry.record.place.pinned) lost_pins_.insert(digest);
  blob_bytes_ -= entry.item.bytes();
  entry.account.bytes -= entry.item.bytes();
  --entry.account.blobs;
  open_.cool(entry.open);
  return taken;
}

}  // namespace cache

#include "cache/blob_store.h"

#include <glog/logging.h>

#include <chrono>
#include <fstream>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/uuid.h"
#include "cache/blob_writer.h"
#include "cache/store_impl.h"

namespace cache {
namespace {

// Beyond it sizes cannot be added up.
constexpr uint64_t kLargestBlob = uint64_t{1} << 60;

}  // namespace

int64_t unix_microseconds() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string boot_id() {
  static const std::string id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string line;
    return std::getline(file, line) && !line.empty() ? line : base::random_uuid();
  }();
  return id;
}

BlobStore::BlobStore(const BlobStoreOptions& options) : impl_(std::make_unique<Impl>(options)) {}

BlobStore::~BlobStore() = default;

std::shared_ptr<const Blob> BlobStore::hot(const oci::Digest& digest) {
  return impl_->holdings.open_blob(digest);
}

std::shared_ptr<const Blob> BlobStore::open(const oci::Digest& digest) {
  std::shared_ptr<const Blob> open_already = impl_->holdings.open_blob(digest);
  if (open_already) return open_already;

  const std::optional<Holdings::Pin> pin = impl_->pin(digest);
  return pin ? impl_->open_pinned(digest, *pin) : nullptr;
}

bool BlobStore::may_hold(const oci::Digest& digest) const {
  return !impl_->complete || contains(digest);
}

bool BlobStore::contains(const oci::Digest& digest) const {
  return impl_->holdings.contains(digest);
}

std::optional<uint64_t> BlobStore::size_of(const oci::Digest& digest) const {
  const std::optional<IndexRecord> record = impl_->holdings.record_of(digest);
  return record ? std::optional(record->size) : std::nullopt;
}

std::optional<BlobInfo> BlobStore::info(const oci::Digest& digest) const {
  return impl_->holdings.info(digest);
}

std::vector<oci::Digest> BlobStore::blobs_of(std::string_view account) const {
  return impl_->holdings.blobs_of(account);
}

std::optional<std::string> BlobStore::read(const oci::Digest& digest, uint64_t most) const {
  const std::optional<Holdings::Pin> pin = impl_->pin(digest);
  if (!pin || pin->size() > most) return std::nullopt;
  if (pin->inside()) return impl_->index->content(digest);
  const base::UniqueFd file = impl_->open_blob_file(digest);
  if (!file) return std::nullopt;
  std::string bytes(pin->size(), '\0');
  if (base::read_at(file.get(), 0, bytes.data(), bytes.size()) != bytes.size()) return std::nullopt;
  return bytes;
}

std::expected<std::unique_ptr<BlobWriter>, NoWriter> BlobStore::write(const oci::Digest& digest,
                                                                      uint64_t size,
                                                                      std::string_view account) {
  if (size > kLargestBlob) return std::unexpected(NoWriter::no_space);
  if (impl_->is_read_only()) return std::unexpected(NoWriter::read_only);
  impl_->holdings.begin_write(digest, account);
  NoWriter why{};
  try {
    std::expected<std::unique_ptr<BlobWriter>, NoWriter> writer = impl_->open_writer(digest, size);
    if (writer) return writer;
    why = writer.error();
  } catch (const base::IoError& error) {
    why = impl_->write_failed(error);
    LOG_IF(ERROR, why != NoWriter::read_only)
        << digest.str() << " cannot be stored: " << error.what();
  }
  impl_->holdings.end_write(digest);
  return std::unexpected(why);
}

std::optional<uint64_t> BlobStore::partial_size(const oci::Digest& digest) const {
  return impl_->holdings.partial_size(digest);
}

bool BlobStore::remove(const oci::Digest& digest) { return remove({&digest, 1}).blobs == 1; }

BlobStore::Removed BlobStore::remove(std::span<const oci::Digest> digests) {
  for (const oci::Digest& digest : digests) {
    if (!impl_->complete) impl_->adopt(digest, Queue::main);
  }
  const std::lock_guard room(impl_->room_mutex);
  Removed removed;
  std::vector<Holdings::Taken> taken;
  for (const oci::Digest& digest : digests) {
    std::optional<uint64_t> size = size_of(digest);
    std::optional<Holdings::Taken> each = impl_->holdings.take(digest);
    if (!each) {
      std::optional<Partial> partial = impl_->holdings.take_partial(digest);
      if (!partial) continue;
      size = partial->size;
      each = Holdings::Taken{digest, nullptr, std::move(partial)};
    }
    taken.push_back(std::move(*each));
    ++removed.blobs;
    removed.bytes += size.value_or(0);
  }
  std::vector<oci::Digest> gone;
  gone.reserve(taken.size());
  for (const Holdings::Taken& each : taken) gone.push_back(each.digest);
  impl_->remove_files(std::move(taken));
  // Who removes a blob does not want it pinned when it comes back.
  for (const oci::Digest& digest : gone) impl_->holdings.set_pinned(digest, false);
  return removed;
}

void BlobStore::report_bad(const oci::Digest& digest, const Blob& blob) {
  const std::lock_guard room(impl_->room_mutex);
  impl_->drop(impl_->holdings.take_opened(digest, blob), "it could not be read");
}

void BlobStore::set_limits(const StoreLimits& limits) {
  impl_->min_free = limits.min_free;
  impl_->scrub_rate = limits.scrub_rate;
  impl_->holdings.set_limits(limits.capacity, limits.quotas);
  const uint64_t above = impl_->holdings.above_capacity();
  LOG_IF(INFO, above > 0) << "cache: there are " << above << " bytes more than the "
                          << limits.capacity
                          << " allowed now; they go as far as they are not in use";
}

void BlobStore::keep_limits() {
  impl_->keep_limits_or_log([] { return true; });
}

void BlobStore::scrub() { impl_->scrub_or_log({}); }

bool BlobStore::pin(const oci::Digest& digest, bool pinned) {
  if (!impl_->complete) impl_->adopt(digest, Queue::main);
  const std::lock_guard room(impl_->room_mutex);
  if (!contains(digest)) {
    if (!pinned) impl_->holdings.set_pinned(digest, false);
    return false;
  }
  impl_->apply({.pin = {{digest, pinned}}});
  impl_->holdings.set_pinned(digest, pinned);
  return true;
}

AccountStats StoreStats::account(const std::string& name) const {
  const auto found = accounts.find(name);
  return found == accounts.end() ? AccountStats{} : found->second;
}

StoreStats BlobStore::stats() const {
  StoreStats stats = impl_->holdings.stats();
  stats.complete = impl_->complete;
  stats.bad_copies = impl_->bad_copies;
  stats.scrubbed_bytes = impl_->scrub.read_bytes();
  stats.read_only = impl_->is_read_only();
  return stats;
}

}  // namespace cache

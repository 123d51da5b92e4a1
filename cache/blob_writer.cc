#include "cache/blob_writer.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/unique_fd.h"
#include "cache/block_map.h"
#include "cache/files.h"
#include "cache/store_impl.h"

namespace cache {
namespace {

constexpr unsigned kBlocksPerSave = 16;

}  // namespace

struct BlobWriter::Impl {
  Impl(BlobStore::Impl& its_store, const oci::Digest& its_digest, uint64_t size,
       Space::Reservation its_space)
      : store(its_store),
        digest(its_digest),
        inside(its_store.fits_inside(size)),
        map(size, store.options.boot, store.holdings.account_of_writer(digest)),
        space(std::move(its_space)) {}

  // Opens the partial blob that is there, or begins an empty one.
  void open_file();
  void save_map(bool sync) const;
  // Make the blob durable, and give what it is read from. IoError: nothing of it is held.
  OpenContent put_in_place(const IndexRecord& record);
  OpenContent put_inside(const IndexRecord& record);
  void remove_map() const;
  // Calls what writes to the disk, and lets the store know how it went.
  template <typename Write>
  void attempt(Write write);

  BlobStore::Impl& store;
  const oci::Digest digest;
  const bool inside;  // to be kept in the index
  BlockMap map;
  unsigned unsaved = 0;                        // blocks marked since the map was saved
  std::optional<Space::Reservation> space;     // none once committed or discarded
  std::optional<Space::Reservation> unlinked;  // of the file, once discarded
  bool allocated = false;                      // by the file system, for the whole blob
  base::UniqueFd file;                         // none once committed or discarded, unless `inside`
  int fd = -1;
  std::shared_ptr<const Blob> blob;  // once committed; it has the file then
};

template <typename Write>
void BlobWriter::Impl::attempt(Write write) {
  try {
    write();
  } catch (const base::IoError& error) {
    store.write_failed(error);
    throw;
  }
}

void BlobWriter::Impl::open_file() {
  const std::filesystem::path path = store.layout.partial(digest);
  file = base::open_file(path, O_RDWR | O_CREAT);
  if (!file) throw base::IoError(ENOENT, "create " + path.string());
  fd = file.get();

  const auto bytes = base::read_file(store.layout.partial_map(digest), BlockMap::kMaxEncoded);
  std::optional<BlockMap> saved = BlockMap::decode(bytes.value_or(""));
  if (saved && saved->size() == map.size() && file_size(fd) == map.size()) {
    // The boot stays that of the oldest blocks.
    saved->set_account(map.account());
    map = std::move(*saved);
  } else {
    remove_file(store.layout.partial_map(digest));
    if (::ftruncate(fd, 0) != 0 || ::ftruncate(fd, static_cast<off_t>(map.size())) != 0) {
      throw base::IoError("truncate " + path.string());
    }
  }
  allocated = allocate(fd, map.size(), path);
  if (allocated) space->allocated(Space::on_disk(map.size()));
}

void BlobWriter::Impl::save_map(bool sync) const {
  const std::filesystem::path path = store.layout.partial_map(digest);
  const std::filesystem::path fresh = store.layout.new_partial_map(digest);
  try {
    const base::UniqueFd out = base::open_file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (!out) throw base::IoError(ENOENT, "create " + fresh.string());
    base::write_at(out.get(), 0, map.encode());
    if (sync) sync_data(out.get(), fresh);
    if (::rename(fresh.c_str(), path.c_str()) != 0) throw base::IoError("rename " + fresh.string());
  } catch (const base::IoError&) {
    ::unlink(fresh.c_str());
    throw;
  }
}

std::unique_ptr<BlobWriter> BlobWriter::open(BlobStore::Impl& store, const oci::Digest& digest,
                                             uint64_t size, Space::Reservation space) {
  auto impl = std::make_unique<Impl>(store, digest, size, std::move(space));
  Impl& w = *impl;
  try {
    if (w.inside) {
      w.file = memory_file(size);
      w.fd = w.file.get();
    } else {
      w.open_file();
      store.write_succeeded();
    }
  } catch (const base::IoError&) {
    w.file.reset();
    store.holdings.set_reserved(digest, 0);
    store.discard_partial(digest, std::move(*w.space));
    throw;
  }
  return std::unique_ptr<BlobWriter>(new BlobWriter(std::move(impl)));
}

BlobWriter::BlobWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

BlobWriter::~BlobWriter() {
  Impl& w = *impl_;
  if (!w.space) return;
  if (w.inside || w.map.marked() == 0) {
    discard();
    return;
  }
  try {
    if (w.unsaved > 0) w.save_map(false);
  } catch (const base::IoError& error) {
    LOG(ERROR) << "a partial blob cannot be kept: " << error.what();
    discard();
    return;
  }
  w.file.reset();
  w.store.holdings.put_aside(w.digest, w.map.size(), std::move(*w.space));
}

const oci::Digest& BlobWriter::digest() const { return impl_->digest; }
uint64_t BlobWriter::size() const { return impl_->map.size(); }
uint64_t BlobWriter::blocks() const { return impl_->map.blocks(); }
bool BlobWriter::has(uint64_t block) const { return impl_->map.has(block); }
bool BlobWriter::of_this_boot() const { return impl_->map.boot() == impl_->store.options.boot; }
int BlobWriter::fd() const { return impl_->fd; }

void BlobWriter::write(uint64_t offset, std::string_view data) {
  CHECK_LE(offset, size());
  CHECK_LE(data.size(), size() - offset);
  impl_->attempt([&] { base::write_at(impl_->file.get(), offset, data); });
}

void BlobWriter::mark(uint64_t block) {
  Impl& w = *impl_;
  if (w.map.has(block)) return;
  w.map.mark(block);
  if (w.inside) return;
  if (!w.allocated) w.space->allocated(std::min(kBlockSize, size() - block * kBlockSize));
  if (++w.unsaved < kBlocksPerSave) return;
  w.unsaved = 0;
  try {
    w.save_map(false);
  } catch (const base::IoError& error) {
    LOG(WARNING) << "a crash now would cost a partial blob: " << error.what();
    return;
  }
  base::crash_point("fill.map_saved");
}

OpenContent BlobWriter::Impl::put_in_place(const IndexRecord& record) {
  const std::filesystem::path place = store.layout.blob(digest);
  bool placed = false;
  try {
    // The map is what leads a start to the blob if a crash comes between rename and index.
    save_map(true);
    sync_data(fd, store.layout.partial(digest));
    base::crash_point("commit.synced");
    placed = true;
    base::rename_durably(store.layout.partial(digest), place);
    base::crash_point("commit.renamed");
    store.file_is_back(digest);
    store.apply({.put = {{digest, record}}});
    base::crash_point("commit.indexed");
  } catch (const base::IoError&) {
    // Nobody else can have this file: a digest that is being written is not held.
    if (placed) ::unlink(place.c_str());
    throw;
  }
  remove_map();
  base::crash_point("commit.map_removed");
  return std::move(file);
}

void BlobWriter::Impl::remove_map() const {
  try {
    remove_file(store.layout.partial_map(digest));
  } catch (const base::IoError& error) {
    LOG(ERROR) << error.what() << "; the next start will try again";
  }
}

OpenContent BlobWriter::Impl::put_inside(const IndexRecord& record) {
  std::string bytes(record.size, '\0');
  if (base::read_at(fd, 0, bytes.data(), bytes.size()) != bytes.size()) {
    throw base::IoError(EIO, "read memfd");
  }
  store.apply({.put = {{digest, record}}, .content = {{digest, bytes}}});
  base::crash_point("commit.inside");
  return bytes;
}

std::shared_ptr<const Blob> BlobWriter::commit() {
  Impl& w = *impl_;
  CHECK(w.space) << "commit() of " << w.digest.str() << ", which is committed or discarded";
  const int64_t stamp = w.store.holdings.stamp();
  const IndexRecord record{
      .size = size(),
      .stored_at = w.store.options.wall_clock() / 1'000'000,
      .last_used = stamp,
      .place = {.pinned = w.store.holdings.is_to_be_pinned(w.digest), .since = stamp},
      .account = w.store.holdings.account_of_writer(w.digest),
      .inside = w.inside};
  OpenContent content;
  try {
    w.attempt([&] { content = w.inside ? w.put_inside(record) : w.put_in_place(record); });
  } catch (const base::IoError&) {
    discard();
    throw;
  }
  w.store.write_succeeded();
  Space::Reservation space = *std::exchange(w.space, std::nullopt);
  space.allocated(space.bytes());
  if (!w.inside) space.shrink(Space::on_disk(size()));
  w.blob = w.store.holdings.admit(w.digest, record, std::move(space), std::move(content));
  return w.blob;
}

void BlobWriter::discard() {
  Impl& w = *impl_;
  if (!w.space) return;
  w.file.reset();
  Space::Reservation space = *std::exchange(w.space, std::nullopt);
  w.store.holdings.set_reserved(w.digest, 0);
  if (!w.inside) w.unlinked = w.store.discard_partial(w.digest, std::move(space));
  if (w.unlinked) w.unlinked->shrink(Space::on_disk(size()));
  w.store.holdings.end_write(w.digest);
}

std::optional<Space::Reservation> BlobWriter::take_space() {
  return std::exchange(impl_->unlinked, std::nullopt);
}

}  // namespace cache

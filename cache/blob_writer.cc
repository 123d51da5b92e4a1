#include "cache/blob_writer.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
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
constexpr uint64_t kMapLimit = 1 << 20;

}  // namespace

struct BlobWriter::Impl {
  Impl(BlobStore::Impl& its_store, const oci::Digest& its_digest, uint64_t size)
      : store(its_store), digest(its_digest), map(size) {}

  // Opens the partial blob that is there, or begins an empty one.
  void open_file();
  void save_map(bool sync) const;

  BlobStore::Impl& store;
  const oci::Digest digest;
  BlockMap map;
  unsigned unsaved = 0;                     // blocks marked since the map was saved
  std::optional<Space::Reservation> space;  // none once committed or discarded
  base::UniqueFd file;                      // none once committed or discarded
  int fd = -1;
  std::shared_ptr<const Blob> blob;  // once committed; it has the file then
};

void BlobWriter::Impl::open_file() {
  const std::filesystem::path path = store.layout.partial(digest);
  file = base::open_file(path, O_RDWR | O_CREAT);
  if (!file) throw base::IoError("open " + path.string());
  fd = file.get();

  const auto bytes = base::read_file(store.layout.partial_map(digest), kMapLimit);
  std::optional<BlockMap> saved = BlockMap::decode(bytes.value_or(""));
  if (saved && saved->size() == map.size() && file_size(fd) == map.size()) {
    map = std::move(*saved);
    return;
  }
  remove_file(store.layout.partial_map(digest));
  if (::ftruncate(fd, 0) != 0 || ::ftruncate(fd, static_cast<off_t>(map.size())) != 0) {
    throw base::IoError("truncate " + path.string());
  }
}

void BlobWriter::Impl::save_map(bool sync) const {
  const std::filesystem::path path = store.layout.partial_map(digest);
  const std::filesystem::path fresh = store.layout.new_partial_map(digest);
  try {
    const base::UniqueFd out = base::open_file(fresh, O_WRONLY | O_CREAT | O_TRUNC);
    if (!out) throw base::IoError("open " + fresh.string());
    base::write_at(out.get(), 0, map.encode());
    if (sync && ::fdatasync(out.get()) != 0) throw base::IoError("sync " + fresh.string());
    if (::rename(fresh.c_str(), path.c_str()) != 0) throw base::IoError("rename " + fresh.string());
  } catch (const base::IoError&) {
    ::unlink(fresh.c_str());
    throw;
  }
}

std::unique_ptr<BlobWriter> BlobWriter::open(BlobStore::Impl& store, const oci::Digest& digest,
                                             uint64_t size, Space::Reservation space) {
  auto impl = std::make_unique<Impl>(store, digest, size);
  try {
    impl->open_file();
  } catch (const base::IoError&) {
    impl->file.reset();
    store.holdings.set_reserved(digest, 0);
    store.discard_partial(digest, std::move(space));
    throw;
  }
  impl->space = std::move(space);
  return std::unique_ptr<BlobWriter>(new BlobWriter(std::move(impl)));
}

BlobWriter::BlobWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

BlobWriter::~BlobWriter() {
  Impl& w = *impl_;
  if (!w.space) return;
  try {
    if (w.unsaved > 0) w.save_map(false);
  } catch (const base::IoError& error) {
    LOG(ERROR) << "a partial blob cannot be kept: " << error.what();
    discard();
    return;
  }
  if (w.map.marked() == 0) {
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
int BlobWriter::fd() const { return impl_->fd; }

void BlobWriter::write(uint64_t offset, std::string_view data) {
  CHECK_LE(offset, size());
  CHECK_LE(data.size(), size() - offset);
  base::write_at(impl_->file.get(), offset, data);
}

void BlobWriter::mark(uint64_t block) {
  Impl& w = *impl_;
  if (w.map.has(block)) return;
  w.map.mark(block);
  if (++w.unsaved < kBlocksPerSave) return;
  w.save_map(false);
  w.unsaved = 0;
  base::crash_point("fill.map_saved");
}

std::shared_ptr<const Blob> BlobWriter::commit() {
  Impl& w = *impl_;
  CHECK(w.space) << "commit() of " << w.digest.str() << ", which is committed or discarded";
  const int64_t now = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  const Place new_place{.pinned = w.store.holdings.is_to_be_pinned(w.digest), .since = now};
  const IndexRecord record{size(), now / 1'000'000, now, new_place,
                           w.store.holdings.account_of_writer(w.digest)};
  const std::filesystem::path place = w.store.layout.blob(w.digest);
  bool placed = false;
  try {
    // The map is what leads a start to the blob if a crash comes between rename and index.
    w.save_map(true);
    if (::fdatasync(w.fd) != 0) throw base::IoError("sync " + w.digest.str());
    base::crash_point("commit.synced");
    placed = true;
    base::rename_durably(w.store.layout.partial(w.digest), place);
    base::crash_point("commit.renamed");
    w.store.apply({.put = {{w.digest, record}}});
    base::crash_point("commit.indexed");
  } catch (const base::IoError&) {
    // Nobody else can have this file: a digest that is being written is not held.
    if (placed) ::unlink(place.c_str());
    discard();
    throw;
  }
  w.blob = w.store.holdings.admit(w.digest, record, *std::exchange(w.space, std::nullopt),
                                  std::move(w.file));
  try {
    remove_file(w.store.layout.partial_map(w.digest));
  } catch (const base::IoError& error) {
    LOG(ERROR) << error.what() << "; the next start will try again";
  }
  base::crash_point("commit.map_removed");
  return w.blob;
}

void BlobWriter::discard() {
  Impl& w = *impl_;
  if (!w.space) return;
  w.file.reset();
  Space::Reservation space = *std::exchange(w.space, std::nullopt);
  w.store.holdings.set_reserved(w.digest, 0);
  w.store.discard_partial(w.digest, std::move(space));
  w.store.holdings.end_write(w.digest);
}

}  // namespace cache

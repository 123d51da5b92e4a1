// BlobWriter: one partial blob, from its first byte to its place among the verified blobs.
//
// The partial blob is a sparse file and a map of which of its blocks (kBlockSize bytes, the last
// one shorter) are there. Blocks may be written in any order. The map is saved every few blocks and
// when the writer is abandoned; it names no block before the write of its last byte has returned,
// so an end of the process makes no block of it wrong, and it says under which boot of the machine
// all of them were written. For a resume it is a hint, never proof: a resumed prefix is hashed
// again. The file system sets room for all of the file aside at the beginning (fallocate), which
// costs microseconds and saves some when the bytes come; where it can, no write meets a full disk.
//
// A blob that will be kept in the index has no file on disk: it is gathered in memory (a memfd, so
// that its readers need not know), and one transaction commits it. Abandoned, it is gone.
//
// All functions block and may be called from any thread, one at a time, unless said otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "cache/blob_store.h"
#include "cache/space.h"
#include "oci/digest.h"

namespace cache {

class BlobWriter {
 public:
  // Abandons: unless committed or discarded a partial blob with at least one whole block stays on
  // disk for a later resume, its map saved and its space still reserved.
  ~BlobWriter();

  const oci::Digest& digest() const;
  uint64_t size() const;
  uint64_t blocks() const;
  // Whole blocks that are there, as found at open and marked since. Any thread that also serialises
  // mark().
  bool has(uint64_t block) const;
  // True if all of them were written since the machine was started: then no power cut can have
  // spoilt them. Any thread.
  bool of_this_boot() const;
  // For readers: the file as it grows. Valid as long as the writer, after commit() too; not after
  // discard() or a failed commit(). Who reads longer has a copy of the descriptor.
  int fd() const;

  // Writes bytes anywhere inside the blob; does not mark. IoError (ENOSPC, EIO).
  void write(uint64_t offset, std::string_view data);
  // Says that the whole block is written. Saves the map from time to time; if that fails, only a
  // resume has less to go on with.
  void mark(uint64_t block);

  // REQUIRES: every byte is written and the caller verified the digest over the file. Syncs the
  // data, renames into place, syncs the directories, adds the index entry, turns the reservation
  // into a held blob. After it returns the blob is a hit and survives a crash. IoError: nothing is
  // held, the partial blob is discarded.
  std::shared_ptr<const Blob> commit();
  // Removes the partial blob: the bytes were wrong, or nobody wants them. Its space is free when
  // the writer goes, unless take_space() has it.
  void discard();
  // After discard() or a failed commit(), for who still has a copy of the descriptor: what the
  // file, which has no name any more, takes of the disk until that is closed. May outlive the
  // store.
  std::optional<Space::Reservation> take_space();

 private:
  friend class BlobStore;
  struct Impl;
  // `space` is reserved for a file of this size. IoError: nothing is left of it.
  static std::unique_ptr<BlobWriter> open(BlobStore::Impl& store, const oci::Digest& digest,
                                          uint64_t size, Space::Reservation space);
  explicit BlobWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cache

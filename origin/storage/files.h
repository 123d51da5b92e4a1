// The few operations on files that the stores are made of, besides base/durable_file: links,
// durable removal, directories in order. All block and may be called on any thread; IoError on
// failure.
//
// Shared storage. Replicas may see the directory through NFSv3 with default caching, where nothing
// tells one host what another has done. What of it Linux's client lets stand, and what we do:
//
// - That a name is missing is believed as long as the directory's cached attributes are (up to 60
//   s), open(2) of the name included. Opening a directory fetches its attributes anew
//   (close-to-open), and one that has changed has its missing names looked up again. So before a
//   name counts as missing its directory is opened: refresh(). Only misses pay, one or two round
//   trips.
// - That a name leads to a file is believed likewise, but open(2) of the name asks the server for
//   the file; one that was replaced or removed is stale there, and the name is looked up again. So
//   links are read by open(2) alone, and a tag that was moved is seen at once without refresh().
//   stat(2) does not ask, so sizes are taken after open(2).
// - A file that was moved is not stale, and still found under its old name. That is done to the
//   data of an upload alone, so its directory is opened before it is.
// - The server is not asked to unlink a name that is believed to be missing.
// - A file that is replaced while it is read is stale (ESTALE): base::read_file reads the new one.
// - rename(2), and creating with O_EXCL, happen at the server: the last of two writers of a link
//   or a blob wins, and each sees one of them whole.
// - flock(2) may keep the requests of one host apart and no others (a mount without a lock
//   service). So uploads have leases: see upload_lease.h.
// - A file that is removed while this host has it open stays as ".nfs…" in its directory, and
//   cannot be removed (EBUSY) until it is closed: remove_tree() leaves it. So does one that another
//   is renamed to. So long, which for a link is the time that reading it takes, other hosts that
//   know its old name may find it there: a removal or a move that they do not see yet.
//
// The client sees that a directory has changed by the server's timestamp: two changes within its
// resolution, with a look between them, may hide the second until the next.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/digest.h"

namespace origin {

// How much of a file is read and hashed at once.
inline constexpr size_t kReadBlock = 1 << 20;

// The digest in a link file. A missing link is nullopt. So is an empty or garbled one, which is
// logged: Distribution writes links in place, so that a crash of its host leaves such links behind
// (and one being written looks like it; hence a second look before it counts).
std::optional<oci::Digest> read_link(const std::filesystem::path& path);

// Whether the error may be of the file alone (EACCES, EIO), and not of this process or the server,
// which say nothing of the file (EMFILE, ETIMEDOUT).
bool of_the_file(const base::IoError& error);

void log_unreadable(const base::IoError& error);
// What `look` finds, where one of many must not stand in the way of the others: a file that cannot
// be read at all is logged, at most once a second, and counts as absent.
template <typename Look>
std::invoke_result_t<const Look&> one_of_many(const Look& look) {
  try {
    return look();
  } catch (const base::IoError& e) {
    if (!of_the_file(e)) throw;
    log_unreadable(e);
    return {};
  }
}
std::optional<oci::Digest> read_link_of_many(const std::filesystem::path& path);

// Creates or replaces the link, durably, whatever stands in its place. Directories that a delete
// removes at the same moment are made again.
void write_link(const std::filesystem::path& path, const oci::Digest& digest);

// How many unusable links write_link() has replaced since the start.
uint64_t link_repairs();

// Asks the storage anew which names are in the directory; false if there is no such directory, or
// it may not be read. See "Shared storage" above.
bool refresh(const std::filesystem::path& directory);

// As base::open_file, but a name that is missing is looked up again after refresh().
base::UniqueFd open_shared(const std::filesystem::path& path, int flags);

// Whether the path names the file that is open: it may have been moved, removed or replaced.
bool names_file(const std::filesystem::path& path, int fd);

// Removes the file, durably; false if there was none. A directory in its place is removed too.
bool remove_file(const std::filesystem::path& path);

// Makes a removal durable: by the directory, or what is left above it if that has gone as well.
void sync_removal(std::filesystem::path directory);

// Removes the directory with all that is in it, except what others put there meanwhile; nothing to
// do if there is none. Not durable.
void remove_tree(const std::filesystem::path& path);

// Whether anything has this name, readable or not. lstat(2) does not ask the server: a name that
// another host has removed may be believed for as long as attributes are (up to 60 s).
bool name_exists(const std::filesystem::path& path);

// The size of a regular file; nullopt if there is none.
std::optional<uint64_t> regular_file_size(const std::filesystem::path& path);

// The names of the directories in a directory, in byte order; empty if it does not exist.
std::vector<std::string> list_directories(const std::filesystem::path& path);

bool directory_exists(const std::filesystem::path& path);

}  // namespace origin

// Files that survive a crash: written beside their place, synced, renamed, and the directory
// synced. All functions block and may be called on any thread; run them on the pool. Failure is
// IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/unique_fd.h"

namespace base {

// Replaces the file's content: temp file in the same directory, fsync, rename, fsync of the
// directory. A reader sees the old content or the new, never a mixture; so does a crash. Creates
// missing parent directories, durably. `mode` is subject to the umask.
void write_file_durably(const std::filesystem::path& path, std::string_view content,
                        unsigned mode = 0666);

// Creates the directory and its missing parents and syncs each parent that gained an entry.
void create_directories_durably(const std::filesystem::path& directory);

// Renames and syncs both directories. Creates the target's missing parents. The source's data must
// have been synced before.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

void sync_directory(const std::filesystem::path& directory);

// Makes a file that somebody else wrote survive a crash: its data, and its name up to two
// directories above. IoError if it is not there.
void sync_existing(const std::filesystem::path& path);

// The whole file, or nullopt if it does not exist. IoError (EFBIG) if longer than `limit` bytes.
// One that another host replaces meanwhile (ESTALE on NFS) is read again.
std::optional<std::string> read_file(const std::filesystem::path& path, uint64_t limit);

// open(2) with O_CLOEXEC; IoError on failure, an empty UniqueFd for ENOENT (and ENOTDIR).
UniqueFd open_file(const std::filesystem::path& path, int flags, unsigned mode = 0666);

// Writes all of it at the offset.
void write_at(int fd, uint64_t offset, std::string_view data);
// Reads up to out_size bytes at the offset, retrying short reads; fewer only at end of file.
size_t read_at(int fd, uint64_t offset, char* out, size_t out_size);

}  // namespace base

// What the cache does with files beyond base/durable_file.h. Blocks; failure is IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/unique_fd.h"

namespace cache {

// Unlinks the file; one that is gone already is fine.
void remove_file(const std::filesystem::path& path);

struct FileFacts {
  uint64_t size;
  uint64_t allocated;  // bytes on disk
  int64_t modified;    // Unix seconds
};
// nullopt unless the path is a regular file (not a symbolic link).
std::optional<FileFacts> file_facts(const std::filesystem::path& path);
uint64_t file_size(int fd);
// What is left for others than root on the file system of this path.
uint64_t free_bytes(const std::filesystem::path& path);

// A file of this size that is in memory only.
base::UniqueFd memory_file(uint64_t size);

// fdatasync. `path` is for the message.
void sync_data(int fd, const std::filesystem::path& path);
// Has the file system set room aside for the whole of a file, so that no write to it can meet a
// full disk. False if the file system cannot.
bool allocate(int fd, uint64_t size, const std::filesystem::path& path);

// The disk, or what its user may take of it, is full.
bool is_full(const base::IoError& error);
bool is_out_of_descriptors(const base::IoError& error);

}  // namespace cache

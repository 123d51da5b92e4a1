// What the cache does with files beyond base/durable_file.h. Blocks; failure is IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace cache {

// Unlinks the file; one that is gone already is fine.
void remove_file(const std::filesystem::path& path);

struct FileFacts {
  uint64_t size;
  int64_t modified;  // Unix seconds
};
// nullopt unless the path is a regular file (not a symbolic link).
std::optional<FileFacts> file_facts(const std::filesystem::path& path);
uint64_t file_size(int fd);

}  // namespace cache

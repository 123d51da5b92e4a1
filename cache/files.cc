#include "cache/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace cache {

void remove_file(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    throw base::IoError("unlink " + path.string());
}

std::optional<FileFacts> file_facts(const std::filesystem::path& path) {
  struct stat facts{};
  if (::lstat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw base::IoError("stat " + path.string());
  }
  if (!S_ISREG(facts.st_mode)) return std::nullopt;
  return FileFacts{static_cast<uint64_t>(facts.st_size), facts.st_mtim.tv_sec};
}

uint64_t file_size(int fd) {
  struct stat facts{};
  if (::fstat(fd, &facts) != 0) throw base::IoError("fstat");
  return static_cast<uint64_t>(facts.st_size);
}

}  // namespace cache

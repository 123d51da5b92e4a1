#include "cache/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "base/fault_point.h"

namespace cache {

void remove_file(const std::filesystem::path& path) {
  int error = base::fault_point("unlink", path.c_str());
  if (error == 0 && ::unlink(path.c_str()) != 0) error = errno;
  if (error != 0 && error != ENOENT) throw base::IoError(error, "unlink " + path.string());
}

std::optional<FileFacts> file_facts(const std::filesystem::path& path) {
  struct stat facts{};
  if (::lstat(path.c_str(), &facts) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw base::IoError("stat " + path.string());
  }
  if (!S_ISREG(facts.st_mode)) return std::nullopt;
  return FileFacts{static_cast<uint64_t>(facts.st_size),
                   static_cast<uint64_t>(facts.st_blocks) * 512, facts.st_mtim.tv_sec};
}

uint64_t file_size(int fd) {
  struct stat facts{};
  if (::fstat(fd, &facts) != 0) throw base::IoError("fstat");
  return static_cast<uint64_t>(facts.st_size);
}

uint64_t free_bytes(const std::filesystem::path& path) {
  struct statvfs facts{};
  if (::statvfs(path.c_str(), &facts) != 0) throw base::IoError("statvfs " + path.string());
  return static_cast<uint64_t>(facts.f_bavail) * facts.f_frsize;
}

base::UniqueFd memory_file(uint64_t size) {
  const int error = base::fault_point("create", "memfd");
  if (error != 0) throw base::IoError(error, "memfd");
  base::UniqueFd file(::memfd_create("entrepot-blob", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0) throw base::IoError("memfd");
  return file;
}

void sync_data(int fd, const std::filesystem::path& path) {
  int error = base::fault_point("fsync", path.c_str());
  if (error == 0 && ::fdatasync(fd) != 0) error = errno;
  if (error != 0) throw base::IoError(error, "sync " + path.string());
}

bool allocate(int fd, uint64_t size, const std::filesystem::path& path) {
  if (size == 0) return true;
  int error = base::fault_point("allocate", path.c_str());
  while (error == 0) {
    if (::fallocate(fd, 0, 0, static_cast<off_t>(size)) == 0) return true;
    if (errno != EINTR) error = errno;
  }
  if (error == EOPNOTSUPP || error == ENOSYS) return false;
  throw base::IoError(error, "allocate " + path.string());
}

bool is_full(const base::IoError& error) {
  return error.number() == ENOSPC || error.number() == EDQUOT;
}

bool is_out_of_descriptors(const base::IoError& error) {
  return error.number() == EMFILE || error.number() == ENFILE;
}

}  // namespace cache

#include "base/durable_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/fault_point.h"

namespace base {
namespace {

namespace fs = std::filesystem;

constexpr size_t kReadSize = 64UL * 1024;
// How often a file may be replaced while it is read.
constexpr int kMaxReplaced = 100;

// The call's result, once it was not interrupted by a signal.
template <typename Call>
auto uninterrupted(Call call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

fs::path parent_of(const fs::path& path) {
  const fs::path parent = path.parent_path();
  return parent.empty() ? "." : parent;
}

// Fails as the test wants it to.
void may_fail(const char* operation, const fs::path& path) {
  const int error = fault_point(operation, path.c_str());
  if (error != 0) throw IoError(error, operation + (" " + path.string()));
}

// The error of a call that has just failed, where only the descriptor of the file is known.
IoError error_on(int fd, const std::string& action) {
  const int number = errno;
  std::error_code ignored;
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored);
  return {number, action + (path.empty() ? "descriptor " + std::to_string(fd) : path.string())};
}

std::string random_suffix() {
  uint64_t bits = 0;
  if (uninterrupted([&] { return getrandom(&bits, sizeof bits, 0); }) != sizeof bits) {
    throw IoError("getrandom");
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(bits));
  return text;
}

void sync_file(int fd, const fs::path& path) {
  may_fail("fsync", path);
  if (uninterrupted([&] { return ::fsync(fd); }) != 0) throw IoError("fsync " + path.string());
}

// A file beside the one it is to replace; removed again unless it was.
class TempFile {
 public:
  TempFile(const fs::path& target, unsigned mode)
      : path_(target.string() + "." + random_suffix() + ".tmp") {
    const int flags = O_WRONLY | O_CREAT | O_EXCL;
    fd_ = open_file(path_, flags, mode);
    if (!fd_) {
      create_directories_durably(parent_of(target));
      fd_ = open_file(path_, flags, mode);
    }
    if (!fd_) throw IoError(ENOENT, "create " + path_.string());
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  ~TempFile() {
    if (!replaced_) ::unlink(path_.c_str());
  }

  void write(std::string_view content) {
    write_at(fd_.get(), 0, content);
    sync_file(fd_.get(), path_);
    // Nothing can be lost by closing now, but a network file system may still say so.
    if (::close(fd_.release()) != 0 && errno != EINTR) throw IoError("close " + path_.string());
  }

  void replace(const fs::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
      throw IoError("rename " + path_.string() + " to " + target.string());
    }
    replaced_ = true;
  }

 private:
  const fs::path path_;
  UniqueFd fd_;
  bool replaced_ = false;
};

std::optional<std::string> read_once(const fs::path& path, uint64_t limit) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  if (!fd) return std::nullopt;
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) throw IoError("stat " + path.string());
  // One byte more than expected, so that the end is seen without another call; the size is only a
  // hint, because the file may grow meanwhile.
  std::string content;
  size_t step = std::min<uint64_t>(static_cast<uint64_t>(st.st_size), limit) + 1;
  while (true) {
    const size_t have = content.size();
    content.resize(have + step);
    const size_t got = read_at(fd.get(), have, content.data() + have, step);
    content.resize(have + got);
    if (content.size() > limit) {
      throw IoError(EFBIG, path.string() + " is longer than " + std::to_string(limit) + " bytes");
    }
    if (got < step) return content;
    step = kReadSize;
  }
}

}  // namespace

void write_file_durably(const fs::path& path, std::string_view content, unsigned mode) {
  TempFile temp(path, mode);
  temp.write(content);
  temp.replace(path);
  sync_directory(parent_of(path));
}

void create_directories_durably(const fs::path& directory) {
  struct stat st{};
  if (::stat(directory.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return;
  const fs::path parent = parent_of(directory);
  if (::mkdir(directory.c_str(), 0777) != 0) {
    if (errno == ENOENT) {
      create_directories_durably(parent);
      if (::mkdir(directory.c_str(), 0777) == 0) return sync_directory(parent);
    }
    if (errno != EEXIST) throw IoError("mkdir " + directory.string());
    if (::stat(directory.c_str(), &st) != 0) throw IoError("stat " + directory.string());
    if (!S_ISDIR(st.st_mode)) throw IoError(ENOTDIR, "mkdir " + directory.string());
    // Somebody else has just made it, and may not have got as far as the sync.
  }
  sync_directory(parent);
}

void rename_durably(const fs::path& from, const fs::path& to) {
  may_fail("rename", to);
  const fs::path target_directory = parent_of(to);
  if (::rename(from.c_str(), to.c_str()) != 0) {
    const int number = errno;
    const std::string what = "rename " + from.string() + " to " + to.string();
    if (number != ENOENT) throw IoError(number, what);
    create_directories_durably(target_directory);
    if (::rename(from.c_str(), to.c_str()) != 0) throw IoError(what);
  }
  // The target first: after a crash in between, the file may have two names but never none.
  sync_directory(target_directory);
  if (const fs::path source = parent_of(from); source != target_directory) sync_directory(source);
}

void sync_directory(const fs::path& directory) {
  const UniqueFd fd = open_file(directory, O_RDONLY | O_DIRECTORY);
  if (!fd) throw IoError(ENOENT, "open " + directory.string());
  sync_file(fd.get(), directory);
}

void sync_existing(const fs::path& path) {
  const UniqueFd fd = open_file(path, O_RDONLY);
  if (!fd) throw IoError(ENOENT, "open " + path.string());
  sync_file(fd.get(), path);
  sync_directory(path.parent_path());
  sync_directory(path.parent_path().parent_path());
}

std::optional<std::string> read_file(const fs::path& path, uint64_t limit) {
  for (int attempt = 1;; ++attempt) {
    try {
      return read_once(path, limit);
    } catch (const IoError& e) {
      if (e.number() != ESTALE || attempt == kMaxReplaced) throw;
    }
  }
}

UniqueFd open_file(const fs::path& path, int flags, unsigned mode) {
  may_fail((flags & O_ACCMODE) == O_RDONLY ? "open" : "create", path);
  UniqueFd fd(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
  if (!fd && errno != ENOENT && errno != ENOTDIR) throw IoError("open " + path.string());
  return fd;
}

void write_at(int fd, uint64_t offset, std::string_view data) {
  if (const int error = fault_point("write")) throw IoError(error, "write");
  while (!data.empty()) {
    const ssize_t written = uninterrupted(
        [&] { return ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset)); });
    if (written < 0) throw error_on(fd, "write ");
    data.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

size_t read_at(int fd, uint64_t offset, char* out, size_t out_size) {
  size_t done = 0;
  while (done < out_size) {
    const ssize_t got = uninterrupted([&] {
      return ::pread(fd, out + done, out_size - done, static_cast<off_t>(offset + done));
    });
    if (got < 0) throw error_on(fd, "read ");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace base

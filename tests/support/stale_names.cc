// A stand-in for the Linux NFS client in what it does with names that are missing, loaded into a
// program by LD_PRELOAD. Below the directory STALE_NAMES_ROOT, a name once looked up and not found
// counts as missing, whatever another process has made since, until the directory that it would be
// in is opened, or this process makes the name itself. NFSv3 with default caching does so for up to
// 60 s; here it lasts for ever, so that a test which forgets to look anew fails each time.
//
// What it does not do: cache attributes or data, or delay writes.
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string>

namespace {

template <typename F>
F* real(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

class StaleNames {
 public:
  static StaleNames& instance() {
    static auto* names = new StaleNames;  // never destroyed: calls come until the very end
    return *names;
  }

  // Whether the name, or a directory on its way, counts as missing.
  bool missing(std::string path) {
    const std::lock_guard lock(mutex_);
    for (; below_root(path); path = parent(path)) {
      if (missing_.contains(path)) return true;
    }
    return false;
  }
  // Remembers what of the path was missing: the first name on its way that is not there.
  void remember(std::string path) {
    struct stat s{};
    std::string first;
    for (; below_root(path) && real<decltype(::lstat)>("lstat")(path.c_str(), &s) != 0;
         path = parent(path)) {
      first = path;
    }
    const std::lock_guard lock(mutex_);
    if (!first.empty()) missing_.insert(first);
  }
  void forget(const std::string& path) {
    const std::lock_guard lock(mutex_);
    missing_.erase(path);
  }
  // The directory has been opened.
  void forget_in(const std::string& directory) {
    const std::lock_guard lock(mutex_);
    std::erase_if(missing_, [&](const std::string& path) { return parent(path) == directory; });
  }

  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

 private:
  bool below_root(const std::string& path) const {
    return !root_.empty() && path.size() > root_.size() && path.starts_with(root_);
  }

  const std::string root_ = std::getenv("STALE_NAMES_ROOT") ? std::getenv("STALE_NAMES_ROOT") : "";
  std::mutex mutex_;
  std::set<std::string> missing_;
};

StaleNames& names() { return StaleNames::instance(); }

int no_entry() {
  errno = ENOENT;
  return -1;
}

// A call that looks the name up, and remembers if it is not there.
template <typename Call>
int look_up(const char* path, const Call& call) {
  if (names().missing(path)) return no_entry();
  const int result = call();
  if (result == -1 && errno == ENOENT) {
    names().remember(path);
    errno = ENOENT;
  }
  return result;
}

// A call that has the server make, or remove, the name: it knows better than what is remembered.
template <typename Call>
int at_server(const char* path, const Call& call) {
  if (names().missing(StaleNames::parent(path))) return no_entry();
  names().forget(path);
  return call();
}

template <typename Call>
int open_any(const char* path, int flags, const Call& call) {
  if (flags & O_CREAT) return at_server(path, call);
  const int fd = look_up(path, call);
  struct stat s{};
  if (fd >= 0 && ::fstat(fd, &s) == 0 && S_ISDIR(s.st_mode)) names().forget_in(path);
  return fd;
}

mode_t mode_argument(int flags, va_list& arguments) {
  return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

}  // namespace

#define INTERPOSE_OPEN(name)                                                                     \
  int name(const char* path, int flags, ...) {                                                   \
    va_list arguments;                                                                           \
    va_start(arguments, flags);                                                                  \
    const mode_t mode = mode_argument(flags, arguments);                                         \
    va_end(arguments);                                                                           \
    return open_any(path, flags,                                                                 \
                    [&] { return real<int(const char*, int, ...)>(#name)(path, flags, mode); }); \
  }
#define INTERPOSE_OPENAT(name)                                                    \
  int name(int at, const char* path, int flags, ...) {                            \
    va_list arguments;                                                            \
    va_start(arguments, flags);                                                   \
    const mode_t mode = mode_argument(flags, arguments);                          \
    va_end(arguments);                                                            \
    return open_any(path, flags, [&] {                                            \
      return real<int(int, const char*, int, ...)>(#name)(at, path, flags, mode); \
    });                                                                           \
  }
#define INTERPOSE_STAT(name)                                                                      \
  int name(const char* path, struct stat* out) noexcept {                                         \
    return look_up(path, [&] { return real<int(const char*, struct stat*)>(#name)(path, out); }); \
  }

extern "C" {

INTERPOSE_OPEN(open)
INTERPOSE_OPEN(open64)
INTERPOSE_OPENAT(openat)
INTERPOSE_OPENAT(openat64)
INTERPOSE_STAT(stat)
INTERPOSE_STAT(lstat)

int stat64(const char* path, struct stat64* out) noexcept {
  return look_up(path, [&] { return real<int(const char*, struct stat64*)>("stat64")(path, out); });
}

DIR* opendir(const char* path) {
  if (names().missing(path)) {
    errno = ENOENT;
    return nullptr;
  }
  DIR* directory = real<DIR*(const char*)>("opendir")(path);
  if (directory != nullptr) names().forget_in(path);
  return directory;
}

int mkdir(const char* path, mode_t mode) noexcept {
  return at_server(path, [&] { return real<int(const char*, mode_t)>("mkdir")(path, mode); });
}

int unlink(const char* path) noexcept {
  if (names().missing(path)) return no_entry();
  return real<int(const char*)>("unlink")(path);
}

int rename(const char* from, const char* to) noexcept {
  if (names().missing(from)) return no_entry();
  return at_server(to, [&] { return real<int(const char*, const char*)>("rename")(from, to); });
}

}  // extern "C"

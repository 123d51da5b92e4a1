#include "tests/support/nfs_caching.h"

#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace test {
namespace {

constexpr double kForEver = 1e6;

// A file as the client knows it: by its handle (what O_PATH opens), not by its name.
struct Node {
  base::UniqueFd handle;
  uint64_t lookups = 0;         // the kernel's references
  int opened = 0;               // open files of this client
  std::set<std::string> names;  // of a directory: what the kernel may know of it
  // Where an unlinked file stays until it is closed.
  base::UniqueFd silly_directory;
  std::string silly_name;
};

using Id = std::pair<dev_t, ino_t>;

// Guards all of these. Never held while the kernel is asked to forget something: it may wait there
// for a request that is answered by another thread of ours.
std::mutex mutex;
std::map<Id, std::unique_ptr<Node>> nodes;
Node root;
fuse_session* session = nullptr;

Node& node_of(fuse_ino_t number) {
  return number == FUSE_ROOT_ID ? root : *reinterpret_cast<Node*>(number);
}

int handle_of(fuse_ino_t number) { return node_of(number).handle.get(); }

int file_of(const fuse_file_info* info) { return static_cast<int>(info->fh); }

// The attributes of a handle or an open file; nullopt with ESTALE if it has no name any more.
std::optional<struct stat> attributes(int fd) {
  struct stat s{};
  if (::fstat(fd, &s) != 0) return std::nullopt;
  if (s.st_nlink > 0) return s;
  errno = ESTALE;
  return std::nullopt;
}

// Why a call on a name in this directory has failed.
int error_in(int directory) {
  const int error = errno;
  return error == ENOENT && !attributes(directory) ? ESTALE : error;
}

// Answers with the error, or with success.
void reply(fuse_req_t request, bool done, int error) { fuse_reply_err(request, done ? 0 : error); }

std::string path_of(int handle) { return "/proc/self/fd/" + std::to_string(handle); }

// The kernel is about to learn something of this name. To be called before the server is asked, so
// that a directory which is opened meanwhile has the name, or the answer is as fresh.
void note_name(fuse_ino_t directory, const std::string& name) {
  const std::lock_guard lock(mutex);
  node_of(directory).names.insert(name);
}

// What the kernel is told of a name that leads to a file; one more reference to its node.
fuse_entry_param entry_of(base::UniqueFd handle, const struct stat& attr) {
  const std::lock_guard lock(mutex);
  auto& node = nodes[{attr.st_dev, attr.st_ino}];
  if (!node) node = std::make_unique<Node>(std::move(handle));
  ++node->lookups;
  fuse_entry_param entry{};
  entry.ino = reinterpret_cast<fuse_ino_t>(node.get());
  entry.attr = attr;
  entry.attr_timeout = kForEver;
  entry.entry_timeout = kForEver;
  return entry;
}

// Asks the server for a name; errno says why there is none.
std::optional<fuse_entry_param> ask(fuse_ino_t directory, const char* name) {
  base::UniqueFd handle(::openat(handle_of(directory), name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!handle) return std::nullopt;
  const auto attr = attributes(handle.get());
  if (attr) return entry_of(std::move(handle), *attr);
  errno = ENOENT;
  return std::nullopt;
}

void look_up(fuse_req_t request, fuse_ino_t directory, const char* name) {
  note_name(directory, name);
  if (const auto entry = ask(directory, name)) {
    fuse_reply_entry(request, &*entry);
    return;
  }
  const int error = error_in(handle_of(directory));
  if (error != ENOENT) {
    fuse_reply_err(request, error);
    return;
  }
  fuse_entry_param missing{};
  missing.entry_timeout = kForEver;
  fuse_reply_entry(request, &missing);
}

void forget_one(fuse_ino_t number, uint64_t lookups) {
  if (number == FUSE_ROOT_ID) return;
  const std::lock_guard lock(mutex);
  Node& node = node_of(number);
  node.lookups -= lookups;
  if (node.lookups > 0) return;
  std::erase_if(nodes, [&](const auto& item) { return item.second.get() == &node; });
}

void forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
  forget_one(number, lookups);
  fuse_reply_none(request);
}

void forget_several(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) forget_one(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

void get_attributes(fuse_req_t request, fuse_ino_t number, fuse_file_info*) {
  const auto attr = attributes(handle_of(number));
  if (attr) {
    fuse_reply_attr(request, &*attr, kForEver);
  } else {
    fuse_reply_err(request, errno);
  }
}

timespec time_to_set(int to_set, int now, int given, const timespec& time) {
  if (to_set & now) return {0, UTIME_NOW};
  return to_set & given ? time : timespec{0, UTIME_OMIT};
}

void set_attributes(fuse_req_t request, fuse_ino_t number, struct stat* wanted, int to_set,
                    fuse_file_info* info) {
  const std::string path = path_of(handle_of(number));
  const timespec times[2] = {
      time_to_set(to_set, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, wanted->st_atim),
      time_to_set(to_set, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, wanted->st_mtim)};
  const bool done =
      attributes(handle_of(number)) &&
      (!(to_set & FUSE_SET_ATTR_MODE) || ::chmod(path.c_str(), wanted->st_mode) == 0) &&
      (!(to_set & FUSE_SET_ATTR_SIZE) || ::truncate(path.c_str(), wanted->st_size) == 0) &&
      ::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0;
  if (done) {
    get_attributes(request, number, info);
  } else {
    fuse_reply_err(request, errno);
  }
}

void make_directory(fuse_req_t request, fuse_ino_t directory, const char* name, mode_t mode) {
  note_name(directory, name);
  if (::mkdirat(handle_of(directory), name, mode) == 0) {
    if (const auto entry = ask(directory, name)) {
      fuse_reply_entry(request, &*entry);
      return;
    }
  }
  fuse_reply_err(request, error_in(handle_of(directory)));
}

// If this client has the file of that name open, keeps it as ".nfs…": 0, or why it cannot. nullopt
// if it is not open.
std::optional<int> keep_open_file(fuse_ino_t directory, const char* name) {
  struct stat s{};
  if (::fstatat(handle_of(directory), name, &s, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  const std::lock_guard lock(mutex);
  const auto found = nodes.find({s.st_dev, s.st_ino});
  if (found == nodes.end() || found->second->opened == 0) return std::nullopt;
  Node& node = *found->second;
  if (node.silly_directory) return EBUSY;
  char silly_name[32];
  std::snprintf(silly_name, sizeof silly_name, ".nfs%016llx",
                static_cast<unsigned long long>(s.st_ino));
  if (::renameat(handle_of(directory), name, handle_of(directory), silly_name) != 0) return errno;
  node_of(directory).names.insert(silly_name);
  node.silly_directory.reset(::fcntl(handle_of(directory), F_DUPFD_CLOEXEC, 0));
  node.silly_name = silly_name;
  return 0;
}

void unlink_name(fuse_req_t request, fuse_ino_t directory, const char* name) {
  note_name(directory, name);
  if (const auto kept = keep_open_file(directory, name)) {
    fuse_reply_err(request, *kept);
    return;
  }
  const bool done = ::unlinkat(handle_of(directory), name, 0) == 0;
  reply(request, done, error_in(handle_of(directory)));
}

void remove_directory(fuse_req_t request, fuse_ino_t directory, const char* name) {
  note_name(directory, name);
  const bool done = ::unlinkat(handle_of(directory), name, AT_REMOVEDIR) == 0;
  reply(request, done, error_in(handle_of(directory)));
}

void rename_to(fuse_req_t request, fuse_ino_t directory, const char* name, fuse_ino_t new_directory,
               const char* new_name, unsigned flags) {
  note_name(directory, name);
  note_name(new_directory, new_name);
  if (flags != 0) {
    fuse_reply_err(request, EINVAL);
    return;
  }
  keep_open_file(new_directory, new_name);
  const bool done = ::renameat(handle_of(directory), name, handle_of(new_directory), new_name) == 0;
  const int error = error_in(handle_of(directory));
  reply(request, done, error == ENOENT ? error_in(handle_of(new_directory)) : error);
}

void link_to(fuse_req_t request, fuse_ino_t number, fuse_ino_t directory, const char* name) {
  note_name(directory, name);
  const std::string path = path_of(handle_of(number));
  if (attributes(handle_of(number)) &&
      ::linkat(AT_FDCWD, path.c_str(), handle_of(directory), name, AT_SYMLINK_FOLLOW) == 0) {
    if (const auto entry = ask(directory, name)) {
      fuse_reply_entry(request, &*entry);
      return;
    }
  }
  fuse_reply_err(request, error_in(handle_of(directory)));
}

void opened(fuse_ino_t number, fuse_file_info* info, base::UniqueFd file) {
  const std::lock_guard lock(mutex);
  ++node_of(number).opened;
  info->fh = static_cast<uint64_t>(file.release());
}

void create(fuse_req_t request, fuse_ino_t directory, const char* name, mode_t mode,
            fuse_file_info* info) {
  note_name(directory, name);
  const int flags = (info->flags & ~O_APPEND) | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
  base::UniqueFd file(::openat(handle_of(directory), name, flags, mode));
  const auto entry = file ? ask(directory, name) : std::nullopt;
  if (!entry) {
    fuse_reply_err(request, error_in(handle_of(directory)));
    return;
  }
  opened(entry->ino, info, std::move(file));
  fuse_reply_create(request, &*entry, info);
}

// The kernel fetches the attributes anew when it next needs them, and drops the cached data when
// the file is opened.
void open_file(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  const int handle = handle_of(number);
  const int flags = (info->flags & (O_ACCMODE | O_TRUNC)) | O_CLOEXEC;
  base::UniqueFd file(attributes(handle) ? ::open(path_of(handle).c_str(), flags) : -1);
  if (!file) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_lowlevel_notify_inval_inode(session, number, -1, 0);
  opened(number, info, std::move(file));
  fuse_reply_open(request, info);
}

void read_file(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  std::vector<char> bytes(size);
  const ssize_t got =
      attributes(file_of(info)) ? ::pread(file_of(info), bytes.data(), bytes.size(), offset) : -1;
  if (got < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_buf(request, bytes.data(), static_cast<size_t>(got));
  }
}

void write_file(fuse_req_t request, fuse_ino_t, const char* bytes, size_t size, off_t offset,
                fuse_file_info* info) {
  const ssize_t done =
      attributes(file_of(info)) ? ::pwrite(file_of(info), bytes, size, offset) : -1;
  if (done < 0) {
    fuse_reply_err(request, errno);
  } else {
    fuse_reply_write(request, static_cast<size_t>(done));
  }
}

void release_file(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  ::close(file_of(info));
  {
    const std::lock_guard lock(mutex);
    Node& node = node_of(number);
    if (--node.opened == 0 && node.silly_directory) {
      ::unlinkat(node.silly_directory.get(), node.silly_name.c_str(), 0);
      node.silly_directory.reset();
    }
  }
  fuse_reply_err(request, 0);
}

// The next one to use the name asks the server; what is known below it stays known. Kernels before
// 6.2 can only forget both.
void expire(fuse_ino_t directory, const std::string& name) {
  if (fuse_lowlevel_notify_expire_entry(session, directory, name.data(), name.size(),
                                        FUSE_LL_EXPIRE_ONLY) == -ENOSYS) {
    fuse_lowlevel_notify_inval_entry(session, directory, name.data(), name.size());
  }
}

// The client sees that the directory has changed, and asks for its names anew.
void open_directory(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  const int handle = handle_of(number);
  DIR* directory = nullptr;
  if (attributes(handle)) {
    const int fd = ::openat(handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    directory = fd < 0 ? nullptr : ::fdopendir(fd);
  }
  if (directory == nullptr) {
    fuse_reply_err(request, errno);
    return;
  }
  std::set<std::string> names;
  {
    const std::lock_guard lock(mutex);
    names.swap(node_of(number).names);
  }
  for (const std::string& name : names) expire(number, name);
  fuse_lowlevel_notify_inval_inode(session, number, -1, 0);
  info->fh = reinterpret_cast<uint64_t>(directory);
  fuse_reply_open(request, info);
}

void read_directory(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
                    fuse_file_info* info) {
  DIR* directory = reinterpret_cast<DIR*>(info->fh);
  ::seekdir(directory, offset);
  std::vector<char> listing(size);
  size_t used = 0;
  while (const dirent* item = ::readdir(directory)) {
    struct stat untyped{};
    untyped.st_ino = item->d_ino;
    const size_t added = fuse_add_direntry(request, listing.data() + used, size - used,
                                           item->d_name, &untyped, item->d_off);
    if (added > size - used) break;
    used += added;
  }
  fuse_reply_buf(request, listing.data(), used);
}

void release_directory(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  ::closedir(reinterpret_cast<DIR*>(info->fh));
  fuse_reply_err(request, 0);
}

void file_system(fuse_req_t request, fuse_ino_t) {
  struct statvfs s{};
  ::fstatvfs(root.handle.get(), &s);
  fuse_reply_statfs(request, &s);
}

}  // namespace

bool serve_as_nfs_client(base::UniqueFd directory, base::UniqueFd device) {
  root.handle = std::move(directory);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  ::umask(0);

  fuse_lowlevel_ops operations{};
  operations.lookup = look_up;
  operations.forget = forget;
  operations.forget_multi = forget_several;
  operations.getattr = get_attributes;
  operations.setattr = set_attributes;
  operations.mkdir = make_directory;
  operations.unlink = unlink_name;
  operations.rmdir = remove_directory;
  operations.rename = rename_to;
  operations.link = link_to;
  operations.create = create;
  operations.open = open_file;
  operations.read = read_file;
  operations.write = write_file;
  operations.release = release_file;
  operations.opendir = open_directory;
  operations.readdir = read_directory;
  operations.releasedir = release_directory;
  operations.statfs = file_system;

  char name[] = "nfs_client";
  char* arguments[] = {name, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, arguments);
  session = fuse_session_new(&args, &operations, sizeof operations, nullptr);
  if (session == nullptr ||
      fuse_session_mount(session, ("/dev/fd/" + std::to_string(device.get())).c_str()) != 0) {
    return false;
  }
  // More than any program under test has: one that opens a directory waits for those that are
  // changing it, and they for us.
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, 100);
  fuse_session_loop_mt(session, config);
  return true;
}

}  // namespace test

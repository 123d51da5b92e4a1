// A stand-in for Linux's NFSv3 client with default caching: runs a program that sees one directory
// as if it were an NFS mount, and nothing else changed.
//
//   nfs_client <directory> <program> [argument…]
//
// The directory itself plays the server. Over it, in a mount namespace of the program's own, this
// mounts a FUSE file system that passes everything through and has the kernel keep names and
// attributes for ever. On NFS that would be until the directory's attributes time out (acdirmin to
// acdirmax, 30 to 60 s); for ever, so that a program which forgets to look anew fails each time and
// not sometimes. The process becomes the program: its id and its signals are the program's. The
// file system is served by a child that dies with it, and the mount with both. Both die if the
// process that started this one does. Exit status 77, with the reason, where FUSE cannot be had (it
// needs root and /dev/fuse).
//
// What holds here as on NFS (Linux, fs/nfs/dir.c, inode.c, unlink.c; close-to-open, "actimeo"):
//
// - A name that was looked up leads to the same file, or to none, whatever other clients do, until
//   this client changes it, its directory is opened (nfs_check_verifier: the change is seen), or
//   the kernel insists (LOOKUP_EXCL, LOOKUP_REVAL).
// - stat(2) answers with the attributes last fetched. open(2) fetches them anew and drops what was
//   cached of the data (close-to-open).
// - A file or directory that another client removed, or replaced by rename(2), is stale: open(2),
//   stat(2) and read(2) of it, and lookups in it, are ESTALE. Where a path was given, the kernel
//   then walks it again and asks for each name on its way.
// - What changes a directory (O_CREAT|O_EXCL, mkdir, rename, unlink) happens at the server, which
//   knows better than the client; but a name that is believed to be missing is not even asked to be
//   unlinked or renamed.
// - A file that this client has open and unlinks, or renames another to, stays as ".nfs…" in its
//   directory until it is closed; so long that name cannot be unlinked (EBUSY).
// - A listing says names, not types. An append goes where this client believes the end to be.
// - Locks (flock, fcntl) hold among the processes of one client only, as with "nolock"; and boot_id
//   is another on each.
//
// What does not: the server's timestamps are as fine as the changes, so that an opened directory
// never looks unchanged when it is not; writes reach the server at once, where NFS may wait for
// fsync or close; nothing is lost by a crash (fsync does nothing); the first stat after open(2)
// fetches the attributes rather than open(2) itself; a name missing after LOOKUP_REVAL is asked for
// again; no request is sent twice; there are files and directories only.
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace {

constexpr int kNotHere = 77;
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

[[noreturn]] void die(const std::string& what, int status = 1) {
  std::fprintf(stderr, "nfs_client: %s: %s\n", what.c_str(), std::strerror(errno));
  std::_Exit(status);
}

// This process dies when `parent` does.
void die_with(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) die("prctl");
  if (::getppid() != parent) std::_Exit(1);
}

void serve(int device) {
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
      fuse_session_mount(session, ("/dev/fd/" + std::to_string(device)).c_str()) != 0) {
    die("libfuse");
  }
  // More than any program under test has: one that opens a directory waits for those that are
  // changing it, and they for us.
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, 100);
  fuse_session_loop_mt(session, config);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: nfs_client <directory> <program> [argument…]\n");
    return 2;
  }
  const char* directory = argv[1];
  const pid_t parent = ::getppid();
  die_with(parent);
  root.handle.reset(::open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.handle) die(directory);
  if (::unshare(CLONE_NEWNS) != 0) die("a mount namespace", kNotHere);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) die("private mounts");
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0) die("/dev/fuse", kNotHere);
  const std::string options =
      "fd=" + std::to_string(device) + ",rootmode=40000,user_id=0,group_id=0";
  if (::mount("nfs_client", directory, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    die("mounting FUSE", kNotHere);
  }
  // Random for each who asks: a host of its own has a boot of its own.
  if (::mount("/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id", nullptr, MS_BIND,
              nullptr) != 0) {
    die("boot_id");
  }
  const pid_t program = ::getpid();
  const pid_t server = ::fork();
  if (server < 0) die("fork");
  if (server == 0) {
    die_with(program);
    serve(device);
    return 0;
  }
  ::execvp(argv[2], argv + 2);
  die(argv[2]);
}

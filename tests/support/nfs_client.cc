// A stand-in for an NFS mount: runs a program that sees one directory as Linux's NFSv3 client would
// show it, and nothing else changed.
//
//   nfs_client <directory> <program> [argument…]
//
// The directory itself plays the server; over it, in a mount namespace of the program's own, is the
// file system of nfs_caching.h, which says what is as on NFS and what is not. The process becomes
// the program: its id and its signals are the program's. The file system is served by a child that
// dies with it, and the mount with both. Both die if the process that started this one does. Exit
// status 77, with the reason, where FUSE cannot be had (it needs root and /dev/fuse).
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "tests/support/nfs_caching.h"

namespace {

constexpr int kNotHere = 77;

[[noreturn]] void die(const std::string& what, int status = 1) {
  std::fprintf(stderr, "nfs_client: %s: %s\n", what.c_str(), std::strerror(errno));
  std::_Exit(status);
}

// This process dies when `parent` does.
void die_with(pid_t parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) die("prctl");
  if (::getppid() != parent) std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: nfs_client <directory> <program> [argument…]\n");
    return 2;
  }
  const char* directory = argv[1];
  die_with(::getppid());
  base::UniqueFd server(::open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!server) die(directory);
  if (::unshare(CLONE_NEWNS) != 0) die("a mount namespace", kNotHere);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) die("private mounts");
  base::UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
  if (!device) die("/dev/fuse", kNotHere);
  const std::string options =
      "fd=" + std::to_string(device.get()) + ",rootmode=40000,user_id=0,group_id=0";
  if (::mount("nfs_client", directory, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
    die("mounting FUSE", kNotHere);
  }
  // Random for each who asks: a host of its own has a boot of its own.
  if (::mount("/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id", nullptr, MS_BIND,
              nullptr) != 0) {
    die("boot_id");
  }
  const pid_t program = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) die("fork");
  if (child == 0) {
    die_with(program);
    return test::serve_as_nfs_client(std::move(server), std::move(device)) ? 0 : 1;
  }
  ::execvp(argv[2], argv + 2);
  die(argv[2]);
}

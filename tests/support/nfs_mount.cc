#include "tests/support/nfs_mount.h"

#include <stdexcept>

#include "tests/support/temp_dir.h"

namespace test {
namespace {

constexpr int kNotHere = 77;  // as in nfs_client.cc

std::vector<std::string> command(const std::filesystem::path& directory,
                                 const std::vector<std::string>& program) {
  std::vector<std::string> argv{NFS_CLIENT_PROGRAM, directory.string()};
  argv.insert(argv.end(), program.begin(), program.end());
  return argv;
}

}  // namespace

NfsMount::NfsMount(const std::filesystem::path& directory, const std::vector<std::string>& program)
    : Process(command(directory, program)), directory_(directory) {}

std::filesystem::path NfsMount::seen(const std::filesystem::path& path) const {
  return "/proc/" + std::to_string(pid()) + "/root" + (directory_ / path).string();
}

std::string NfsMount::unavailable() {
  const TempDir directory;
  NfsMount mount(directory.path(), {"true"});
  const int status = mount.wait();
  if (status == 0) return "";
  if (status == kNotHere) return "no stand-in for NFS on this machine: " + mount.output();
  throw std::runtime_error(mount.output());
}

}  // namespace test

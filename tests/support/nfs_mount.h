// A program that sees a directory as Linux's NFSv3 client would show it: see nfs_client.cc. Started
// once per host that the test plays, each has caches of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace test {

class NfsMount : public Process {
 public:
  // The directory must exist. Throws what Process does.
  NfsMount(const std::filesystem::path& directory, const std::vector<std::string>& program);

  // What the program sees under this path of the directory, for the test to look at: it is looked
  // at by the program's host, and cached there. Only while the program runs.
  std::filesystem::path seen(const std::filesystem::path& path) const;

  // Why there can be none on this machine; empty if there can. To be skipped for, never passed.
  static std::string unavailable();

 private:
  std::filesystem::path directory_;
};

}  // namespace test

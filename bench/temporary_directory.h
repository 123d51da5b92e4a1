// A directory that goes when this does.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"

namespace bench {

class TemporaryDirectory {
 public:
  // Below `parent`, with a name that begins like this. base::IoError.
  TemporaryDirectory(const std::filesystem::path& parent, const std::string& name) {
    std::string path = parent / (name + "-XXXXXX");
    if (!mkdtemp(path.data())) throw base::IoError("mkdtemp " + path);
    path_ = path;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace bench

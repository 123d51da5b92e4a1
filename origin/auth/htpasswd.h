// The users of auth.htpasswd: lines "user:hash", bcrypt only, as in Distribution. Lines that are
// not are named in the log, without the hash, and ignored.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"

namespace origin::auth {

class Users {
 public:
  // `name` stands for the file in the log.
  Users(const std::string& text, const std::string& name);

  // The user's hash; for an unknown user one that nothing matches but that takes as long.
  const std::string& hash(const std::string& user) const;
  size_t size() const { return hashes_.size(); }

 private:
  std::unordered_map<std::string, std::string> hashes_;
  std::string impossible_;
};

// The file, read again when it has changed. Thread-safe.
class HtpasswdFile {
 public:
  // base::IoError if there is none or it cannot be read; a directory counts as a file without
  // users, which is logged. Blocks.
  explicit HtpasswdFile(std::filesystem::path path);

  // True once a second, for the one caller that is to refresh() then.
  bool due(base::TimePoint now);
  // Reads the file if it is another than before. If it cannot be read, the users stay as they were,
  // which is logged once. Blocks.
  void refresh();
  std::shared_ptr<const Users> users() const;

 private:
  // What tells one state of the file from another.
  struct Stamp {
    ino_t inode = 0;
    off_t size = 0;
    time_t seconds = 0;
    long nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;
  std::shared_ptr<const Users> read() const;

  const std::filesystem::path path_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Users> users_;  // these four guarded by mutex_
  Stamp stamp_;
  bool unreadable_ = false;
  base::TimePoint next_look_;
};

}  // namespace origin::auth

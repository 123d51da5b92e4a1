#include "origin/auth/htpasswd.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/log.h"
#include "origin/auth/bcrypt.h"

namespace origin::auth {
namespace {

constexpr uint64_t kMaxFile = 16 << 20;
constexpr unsigned kUsualCost = 10;
constexpr base::Duration kLookEvery = std::chrono::seconds(1);

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Users::Users(const std::string& text, const std::string& name) {
  unsigned cost = 0;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trim(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    const size_t colon = line.find(':');
    const std::string_view user = line.substr(0, colon);
    const std::string_view hash = colon == std::string_view::npos ? "" : line.substr(colon + 1);
    if (user.empty() || !valid_bcrypt(hash)) {
      // Without a colon the line may be anything, a password too.
      const std::string who = colon == std::string_view::npos
                                  ? "not \"user:hash\""
                                  : "user \"" + base::printable(user) +
                                        "\" has no bcrypt hash ($2y$…, cost at most 16)";
      LOG(WARNING) << name << ':' << number << ": " << who << ", ignored";
      continue;
    }
    cost = std::max(cost, bcrypt_cost(hash));
    hashes_[std::string(user)] = hash;
  }
  if (hashes_.empty()) LOG(WARNING) << name << ": there is no user in it, so nobody can log in";
  impossible_ = impossible_bcrypt(cost == 0 ? kUsualCost : cost);
}

const std::string& Users::hash(const std::string& user) const {
  const auto found = hashes_.find(user);
  return found == hashes_.end() ? impossible_ : found->second;
}

HtpasswdFile::HtpasswdFile(std::filesystem::path path) : path_(std::move(path)) {
  // In this order: a change in between is then seen at the next look.
  stamp_ = stamp();
  users_ = read();
}

HtpasswdFile::Stamp HtpasswdFile::stamp() const {
  struct stat status{};
  if (::stat(path_.c_str(), &status) != 0) return {};
  return {status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

std::shared_ptr<const Users> HtpasswdFile::read() const {
  // Debian's configuration of docker-registry names the directory it is in; who uses it unchanged
  // has a registry that nobody can log in to, and so it stays.
  if (std::filesystem::is_directory(path_)) {
    LOG(ERROR) << path_.string() << " is a directory, not a file of users and passwords";
    return std::make_shared<const Users>("", path_.string());
  }
  const auto text = base::read_file(path_, kMaxFile);
  if (!text) throw base::IoError(ENOENT, path_.string());
  return std::make_shared<const Users>(*text, path_.string());
}

bool HtpasswdFile::due(base::TimePoint now) {
  const std::lock_guard lock(mutex_);
  if (now < next_look_) return false;
  next_look_ = now + kLookEvery;
  return true;
}

void HtpasswdFile::refresh() {
  const Stamp now = stamp();
  {
    const std::lock_guard lock(mutex_);
    if (now == stamp_) return;
  }
  try {
    const auto users = read();
    LOG(INFO) << path_.string() << " read again: " << users->size() << " users";
    const std::lock_guard lock(mutex_);
    users_ = users;
    stamp_ = now;
    unreadable_ = false;
  } catch (const base::IoError& e) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(unreadable_, true)) {
      LOG(ERROR) << e.what() << ": users and passwords stay as they were";
    }
  }
}

std::shared_ptr<const Users> HtpasswdFile::users() const {
  const std::lock_guard lock(mutex_);
  return users_;
}

}  // namespace origin::auth

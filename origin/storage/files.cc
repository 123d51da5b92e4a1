#include "origin/storage/files.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "origin/storage/action.h"

namespace origin {
namespace {

// Longer than any digest, so that a link of any other content shows as garbled.
constexpr uint64_t kMaxLink = 4096;
// How often a link is written anew because its directories were removed meanwhile.
constexpr int kMaxAttempts = 100;

std::atomic<uint64_t> repairs = 0;

// What `look` finds; where that is nothing, what it finds after the directory was read anew.
template <typename Look>
auto look_twice(const std::filesystem::path& path, const Look& look) {
  auto found = look();
  if (found || !refresh(path.parent_path())) return found;
  return look();
}

// The link's text, or nullopt if there is none; what cannot be a link reads as "".
std::optional<std::string> link_text(const std::filesystem::path& path) {
  try {
    return look_twice(path, [&] { return base::read_file(path, kMaxLink); });
  } catch (const base::IoError& e) {
    if (e.number() == EFBIG || e.number() == EISDIR) return "";
    throw;
  }
}

// Also what another host removes just then.
bool missing(int error) { return error == ENOENT || error == ENOTDIR || error == ESTALE; }

// What is under the name now, opened: stat(2) alone would believe what this host last saw of it.
std::optional<struct stat> stat_of(const std::filesystem::path& path) {
  const ActionTimer timer(Action::stat);
  const base::UniqueFd fd = open_shared(path, O_RDONLY);
  struct stat s{};
  if (!fd) return std::nullopt;
  if (::fstat(fd.get(), &s) != 0) throw base::IoError("stat " + path.string());
  return s;
}

// What stands in a link's place is no link: say so and count it, since it is about to be replaced.
void note_repair(const std::filesystem::path& path) {
  std::string what;
  try {
    const auto text = base::read_file(path, kMaxLink);
    if (!text || oci::Digest::parse(*text)) return;
    what = text->empty() ? "empty" : "garbled";
  } catch (const base::IoError& e) {
    what = std::string("unreadable (") + e.what() + ")";
  }
  ++repairs;
  LOG(WARNING) << path.string() << ": " << what << " link, replaced by a push";
}

}  // namespace

std::optional<oci::Digest> read_link(const std::filesystem::path& path) {
  const ActionTimer timer(Action::get_content);
  std::string text;
  for (int look = 0; look < 2; ++look) {
    const auto content = link_text(path);
    if (!content) return std::nullopt;
    if (const auto digest = oci::Digest::parse(*content)) return digest;
    text = *content;
  }
  LOG(WARNING) << path.string() << (text.empty() ? ": empty link" : ": garbled link \"")
               << base::printable(text) << (text.empty() ? "" : "\"") << ", taken as absent";
  return std::nullopt;
}

bool of_the_file(const base::IoError& error) {
  switch (error.number()) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EINTR:
    case ETIMEDOUT:
    case ESTALE:
      return false;
    default:
      return true;
  }
}

void log_unreadable(const base::IoError& error) {
  LOG_EVERY_T(ERROR, 1) << "unreadable, taken as absent: " << error.what();
}

std::optional<oci::Digest> read_link_of_many(const std::filesystem::path& path) {
  return one_of_many([&] { return read_link(path); });
}

void write_link(const std::filesystem::path& path, const oci::Digest& digest) {
  const ActionTimer timer(Action::put_content);
  note_repair(path);
  for (int attempt = 1;; ++attempt) {
    try {
      return base::write_file_durably(path, digest.str());
    } catch (const base::IoError& e) {
      if (attempt == kMaxAttempts) throw;
      if (e.number() == EISDIR) {
        remove_tree(path);
      } else if (e.number() != ENOENT && e.number() != ESTALE) {
        throw;
      }
    }
  }
}

uint64_t link_repairs() { return repairs; }

bool refresh(const std::filesystem::path& directory) {
  const auto opens = [&] {
    try {
      return base::open_file(directory, O_RDONLY | O_DIRECTORY).get() >= 0;
    } catch (const base::IoError& e) {
      // One that may be passed but not listed is taken as this host sees it.
      if (!missing(e.number()) && e.number() != EACCES) throw;
      return false;
    }
  };
  if (opens()) return true;
  // The directory's own name may be what is believed to be missing.
  const std::filesystem::path parent = directory.parent_path();
  return !parent.empty() && parent != directory && refresh(parent) && opens();
}

base::UniqueFd open_shared(const std::filesystem::path& path, int flags) {
  return look_twice(path, [&] { return base::open_file(path, flags); });
}

bool names_file(const std::filesystem::path& path, int fd) {
  // Opened, not only looked at: on NFS that asks the server.
  const base::UniqueFd now = base::open_file(path, O_RDONLY);
  if (!now) return false;
  struct stat named{};
  struct stat opened{};
  if (::fstat(now.get(), &named) != 0 || ::fstat(fd, &opened) != 0) {
    throw base::IoError("stat " + path.string());
  }
  return named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

void sync_removal(std::filesystem::path directory) {
  while (true) {
    try {
      return base::sync_directory(directory);
    } catch (const base::IoError& e) {
      if (!missing(e.number())) throw;
    }
    directory = directory.parent_path();
  }
}

bool remove_file(const std::filesystem::path& path) {
  const ActionTimer timer(Action::remove);
  // The server is not even asked to remove what is believed to be missing.
  const bool removed = look_twice(path, [&] {
    if (::unlink(path.c_str()) == 0) return true;
    if (missing(errno)) return false;
    if (errno != EISDIR) throw base::IoError("removing " + path.string());
    remove_tree(path);
    return true;
  });
  if (removed) sync_removal(path.parent_path());
  return removed;
}

void remove_tree(const std::filesystem::path& path) {
  const ActionTimer timer(Action::remove);
  if (const int number = base::fault_point("remove", path.c_str())) {
    throw base::IoError(number, "removing " + path.string());
  }
  std::error_code error;
  std::filesystem::remove_all(path, error);
  const int number = error.value();
  if (error && !missing(number) && number != ENOTEMPTY && number != EBUSY) {
    throw base::IoError(number, "removing " + path.string());
  }
}

bool name_exists(const std::filesystem::path& path) {
  const ActionTimer timer(Action::stat);
  return look_twice(path, [&] {
    struct stat s{};
    if (::lstat(path.c_str(), &s) == 0) return true;
    if (missing(errno)) return false;
    throw base::IoError("stat " + path.string());
  });
}

std::optional<uint64_t> regular_file_size(const std::filesystem::path& path) {
  const auto s = stat_of(path);
  if (!s || !S_ISREG(s->st_mode)) return std::nullopt;
  return static_cast<uint64_t>(s->st_size);
}

std::vector<std::string> list_directories(const std::filesystem::path& path) {
  const ActionTimer timer(Action::list);
  if (const int number = base::fault_point("list", path.c_str())) {
    throw base::IoError(number, "listing " + path.string());
  }
  std::vector<std::string> names;
  refresh(path);
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->is_directory(gone)) names.push_back(it->path().filename().string());
  }
  if (error && !missing(error.value())) {
    throw base::IoError(error.value(), "listing " + path.string());
  }
  std::ranges::sort(names);
  return names;
}

bool directory_exists(const std::filesystem::path& path) {
  const auto s = stat_of(path);
  return s && S_ISDIR(s->st_mode);
}

}  // namespace origin

#include "origin/storage/files.h"

#include <glog/logging.h>
#include <sys/stat.h>

#include <algorithm>
#include <system_error>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/log.h"
#include "origin/storage/action.h"

namespace origin {
namespace {

// Longer than any digest, so that a link of any other content shows as garbled.
constexpr uint64_t kMaxLink = 4096;

// The link's text, or nullopt if there is none; what cannot be a link reads as "".
std::optional<std::string> link_text(const std::filesystem::path& path) {
  try {
    return base::read_file(path, kMaxLink);
  } catch (const base::IoError& e) {
    if (e.number() == EFBIG || e.number() == EISDIR) return "";
    throw;
  }
}

bool missing(const std::error_code& error) {
  return error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory;
}

std::optional<struct stat> stat_of(const std::filesystem::path& path) {
  const ActionTimer timer(Action::stat);
  struct stat s{};
  if (::stat(path.c_str(), &s) == 0) return s;
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  throw base::IoError("stat " + path.string());
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

void write_link(const std::filesystem::path& path, const oci::Digest& digest) {
  const ActionTimer timer(Action::put_content);
  base::write_file_durably(path, digest.str());
}

bool remove_file(const std::filesystem::path& path) {
  const ActionTimer timer(Action::remove);
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw base::IoError("removing " + path.string());
  }
  base::sync_directory(path.parent_path());
  return true;
}

void remove_tree(const std::filesystem::path& path) {
  const ActionTimer timer(Action::remove);
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error && !missing(error)) {
    throw base::IoError(error.value(), "removing " + path.string());
  }
}

std::optional<uint64_t> regular_file_size(const std::filesystem::path& path) {
  const auto s = stat_of(path);
  if (!s || !S_ISREG(s->st_mode)) return std::nullopt;
  return static_cast<uint64_t>(s->st_size);
}

std::vector<std::string> list_directories(const std::filesystem::path& path) {
  const ActionTimer timer(Action::list);
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone;
    if (it->is_directory(gone)) names.push_back(it->path().filename().string());
  }
  if (error && !missing(error)) throw base::IoError(error.value(), "listing " + path.string());
  std::ranges::sort(names);
  return names;
}

bool directory_exists(const std::filesystem::path& path) {
  const auto s = stat_of(path);
  return s && S_ISDIR(s->st_mode);
}

}  // namespace origin

#include "origin/storage/tag_store.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/crash_point.h"
#include "base/error.h"
#include "oci/name.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// Whether there may be a link. One that cannot be looked at keeps no other from the list.
bool has_content(const std::filesystem::path& link) {
  try {
    return regular_file_size(link).value_or(0) > 0;
  } catch (const base::IoError& e) {
    LOG(ERROR) << "tag not listed: " << e.what();
    return false;
  }
}

}  // namespace

std::optional<oci::Digest> TagStore::get(const std::string& repository,
                                         const std::string& tag) const {
  return read_link(layout_.tag_current_link(repository, tag));
}

void TagStore::put(const std::string& repository, const std::string& tag,
                   const oci::Digest& digest) {
  write_link(layout_.tag_index_link(repository, tag, digest), digest);
  base::crash_point("tag.indexed");
  write_link(layout_.tag_current_link(repository, tag), digest);
  base::crash_point("tag.moved");
}

bool TagStore::remove(const std::string& repository, const std::string& tag) {
  // The link first: without it the tag is gone, whatever becomes of the rest.
  const bool removed = remove_file(layout_.tag_current_link(repository, tag));
  remove_tree(layout_.tag(repository, tag));
  base::crash_point("tag.removed");
  return removed;
}

std::vector<std::string> TagStore::remove_all_of(const std::string& repository,
                                                 const oci::Digest& digest) {
  std::vector<std::string> removed;
  for (const std::string& tag : list_directories(layout_.tags(repository))) {
    const auto current = read_link_of_many(layout_.tag_current_link(repository, tag));
    if (current == digest && remove(repository, tag)) removed.push_back(tag);
  }
  return removed;
}

std::vector<std::string> TagStore::list(const std::string& repository, const std::string& last,
                                        size_t limit) const {
  std::vector<std::string> tags;
  const std::vector<std::string> names = list_directories(layout_.tags(repository));
  for (auto it = std::ranges::upper_bound(names, last); it != names.end(); ++it) {
    if (tags.size() == limit) break;
    // A tag that is being made, or was when its host crashed, has no current link yet.
    if (oci::valid_tag(*it) && has_content(layout_.tag_current_link(repository, *it))) {
      tags.push_back(*it);
    }
  }
  return tags;
}

}  // namespace origin

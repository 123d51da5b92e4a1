#include "origin/storage/tag_store.h"

#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/uuid.h"
#include "oci/name.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// Whether there may be a link. One that cannot be looked at keeps no other from the list.
bool has_content(const std::filesystem::path& link) {
  return one_of_many([&] { return regular_file_size(link); }).value_or(0) > 0;
}

// What is left of a tag without a current link: it may stay, where it cannot be removed. A push may
// be about to make the tag anew: it makes its directories again, and what it has put there stays.
void remove_rest(const Layout& layout, const std::string& repository, const std::string& tag) {
  const std::filesystem::path current = layout.tag_current_link(repository, tag);
  base::fault_point("tag.unlinked", tag.c_str());
  try {
    remove_tree(layout.tag_index(repository, tag));
    std::error_code error;
    for (std::filesystem::directory_iterator it(current.parent_path(), error), end;
         !error && it != end; it.increment(error)) {
      if (it->path().filename() != current.filename()) remove_tree(it->path());
    }
  } catch (const base::IoError& e) {
    LOG(ERROR) << "left of a tag that is deleted: " << e.what();
  }
  ::rmdir(current.parent_path().c_str());
  ::rmdir(layout.tag(repository, tag).c_str());
  base::crash_point("tag.removed");
}

// Puts a link back that a push had made, unless another has come meanwhile.
void put_back(const std::filesystem::path& taken, const std::filesystem::path& link) {
  base::create_directories_durably(link.parent_path());
  const bool there = ::link(taken.c_str(), link.c_str()) == 0 || errno == EEXIST;
  if (there) {
    base::sync_directory(link.parent_path());
    remove_file(taken);
  } else {
    base::rename_durably(taken, link);  // a file system without hard links
  }
}

// Whether the link of a tag leads to the digest. One that cannot be read stays, and its tag may
// lead to nothing from now on: each is in the log.
bool leads_to(const std::filesystem::path& link, const oci::Digest& digest) {
  try {
    return read_link(link) == digest;
  } catch (const base::IoError& e) {
    if (!of_the_file(e)) throw;
    LOG(ERROR) << "the delete of " << digest.str()
               << " leaves a tag that may lead to it: " << e.what();
    return false;
  }
}

// Removes the link of a tag if it leads to the digest. It is taken out of its place, to where no
// other delete of the tag looks, before that is certain: looked at in its place, a push might
// replace it before it is removed. What remains: a host that crashes between the two with a link
// that a push made in the instant before has lost it.
bool remove_link_to(const std::filesystem::path& link, const oci::Digest& digest) {
  if (!leads_to(link, digest)) return false;
  base::fault_point("tag.found", link.c_str());
  const std::filesystem::path taken =
      link.parent_path().parent_path() / (".link." + base::random_uuid());
  if (::rename(link.c_str(), taken.c_str()) != 0) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ESTALE) return false;
    throw base::IoError("removing " + link.string());
  }
  base::fault_point("tag.taken", link.c_str());
  try {
    if (read_link(taken) != digest) {
      put_back(taken, link);
      return false;
    }
  } catch (const base::IoError&) {
    put_back(taken, link);
    throw;
  }
  remove_file(taken);
  sync_removal(link.parent_path());
  return true;
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
  // A delete of what the tag was may have taken the history along.
  const std::filesystem::path history = layout_.tag_index_link(repository, tag, digest);
  if (!read_link(history)) write_link(history, digest);
}

bool TagStore::remove(const std::string& repository, const std::string& tag) {
  // The link first: without it the tag is gone, whatever becomes of the rest.
  const bool removed = remove_file(layout_.tag_current_link(repository, tag));
  remove_rest(layout_, repository, tag);
  return removed;
}

std::vector<std::string> TagStore::remove_all_of(const std::string& repository,
                                                 const oci::Digest& digest) {
  std::vector<std::string> removed;
  for (const std::string& tag : list_directories(layout_.tags(repository))) {
    if (!remove_link_to(layout_.tag_current_link(repository, tag), digest)) continue;
    remove_rest(layout_, repository, tag);
    removed.push_back(tag);
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

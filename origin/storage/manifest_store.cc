#include "origin/storage/manifest_store.h"

#include <glog/logging.h>

#include "base/crash_point.h"
#include "base/durable_file.h"
#include "base/error.h"
#include "origin/storage/action.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

// The file's content if it is what the digest says.
std::optional<std::string> read_verified(const std::filesystem::path& path,
                                         const oci::Digest& digest) {
  const ActionTimer timer(Action::get_content);
  std::optional<std::string> bytes;
  try {
    bytes = base::read_file(path, oci::kMaxManifestSize);
    if (!bytes && refresh(path.parent_path())) {
      bytes = base::read_file(path, oci::kMaxManifestSize);
    }
  } catch (const base::IoError& e) {
    if (e.number() != EFBIG) throw;
    LOG(WARNING) << digest.str() << " is too large for a manifest, taken as absent";
    return std::nullopt;
  }
  if (bytes && oci::Digest::of(digest.algorithm(), *bytes) != digest) {
    LOG(WARNING) << digest.str() << ": the stored manifest does not match, taken as absent";
    return std::nullopt;
  }
  return bytes;
}

}  // namespace

std::optional<std::string> ManifestStore::get(const std::string& repository,
                                              const oci::Digest& digest) const {
  const auto target = read_link(layout_.revision_link(repository, digest));
  return target ? read_verified(layout_.blob(*target), *target) : std::nullopt;
}

bool ManifestStore::exists(const std::string& repository, const oci::Digest& digest) const {
  const auto target = read_link(layout_.revision_link(repository, digest));
  return target && regular_file_size(layout_.blob(*target)).value_or(0) > 0;
}

bool ManifestStore::linked(const std::string& repository, const oci::Digest& digest) const {
  return name_exists(layout_.revision_link(repository, digest));
}

void ManifestStore::put(const std::string& repository, const oci::Digest& digest,
                        std::string_view bytes, const std::optional<oci::Digest>& subject) {
  if (one_of_many([&] { return read_verified(layout_.blob(digest), digest); })) {
    base::sync_existing(layout_.blob(digest));
  } else {
    const ActionTimer timer(Action::put_content);
    base::write_file_durably(layout_.blob(digest), bytes);
  }
  base::crash_point("manifest.stored");
  // Distribution 2.8 takes a directory for a repository, and marks what it refers to when it
  // collects garbage, only if it has this.
  base::create_directories_durably(layout_.layers(repository));
  if (subject) write_link(layout_.referrer_link(repository, *subject, digest), digest);
  write_link(layout_.revision_link(repository, digest), digest);
  base::crash_point("manifest.linked");
}

void ManifestStore::keep(const std::string& repository, const oci::Digest& digest,
                         const std::optional<oci::Digest>& subject) {
  const auto keep_link = [&](const std::filesystem::path& link) {
    if (!read_link(link)) write_link(link, digest);
  };
  if (subject) keep_link(layout_.referrer_link(repository, *subject, digest));
  keep_link(layout_.revision_link(repository, digest));
}

bool ManifestStore::remove(const std::string& repository, const oci::Digest& digest) {
  const auto bytes = one_of_many([&] { return get(repository, digest); });
  const bool removed = remove_file(layout_.revision_link(repository, digest));
  base::crash_point("manifest.unlinked");
  if (!bytes) return removed;
  const auto manifest = oci::parse_manifest(*bytes, "");
  if (!manifest || !manifest->subject) return removed;
  try {
    // Only the entry: its directories may be about to take another.
    remove_file(layout_.referrer_link(repository, manifest->subject->digest, digest));
  } catch (const base::IoError& e) {
    // The manifest has gone all the same, and what leads to none is in no list.
    LOG(ERROR) << "left of a manifest that is deleted: " << e.what();
  }
  return removed;
}

std::vector<oci::Digest> ManifestStore::referrers(const std::string& repository,
                                                  const oci::Digest& subject) const {
  std::vector<oci::Digest> digests;
  const std::filesystem::path directory = layout_.referrers(repository, subject);
  for (const std::string& algorithm : list_directories(directory)) {
    const std::vector<std::string> names =
        one_of_many([&] { return list_directories(directory / algorithm); });
    for (const std::string& hex : names) {
      const auto digest = read_link_of_many(directory / algorithm / hex / "link");
      if (digest) digests.push_back(*digest);
    }
  }
  return digests;
}

}  // namespace origin

#include "cache/recovery.h"

#include <glog/logging.h>

#include <optional>
#include <set>
#include <system_error>
#include <unordered_set>

#include "base/durable_file.h"
#include "base/error.h"
#include "cache/block_map.h"

namespace cache {
namespace {

Index::Opened open_index(const Layout& layout) {
  auto opened = Index::open(layout.index());
  if (opened) return std::move(*opened);
  Index::Content content;
  content.complete = std::filesystem::is_empty(layout.blobs());
  LOG_IF(WARNING, !content.complete)
      << "the index in " << layout.index() << " cannot be used (" << opened.error()
      << "); it is made anew from the tree while blobs are served";
  std::unique_ptr<Index> index = Index::create(layout.index(), content);
  return {std::move(index), std::move(content)};
}

// The partial blob of this digest, if it can be resumed.
std::optional<Recovered::Partial> resumable(const Layout& layout, const oci::Digest& digest) {
  const std::optional<FileFacts> data = file_facts(layout.partial(digest));
  const std::optional<FileFacts> map_file = file_facts(layout.partial_map(digest));
  if (!data || !map_file || map_file->size > BlockMap::kMaxEncoded) return std::nullopt;
  const auto bytes = base::read_file(layout.partial_map(digest), BlockMap::kMaxEncoded);
  const auto map = BlockMap::decode(bytes.value_or(""));
  if (!map || map->size() != data->size || map->marked() == 0) return std::nullopt;
  return Recovered::Partial{digest, data->size, data->allocated, map_file->modified * 1'000'000,
                            map->account()};
}

// incoming/ is flat and holds only what was under way.
std::set<oci::Digest> read_incoming(const Layout& layout) {
  std::set<oci::Digest> digests;
  for (const auto& entry : std::filesystem::directory_iterator(layout.incoming())) {
    const auto digest = Layout::digest_of_partial(entry.path());
    if (digest) {
      digests.insert(*digest);
    } else {
      std::filesystem::remove_all(entry.path());
    }
  }
  return digests;
}

// The file of a blob that the index does not name, if a commit put it there. One that a power cut
// brought back after its removal has a tombstone, and what was to replace it is not renamed yet.
std::optional<FileFacts> committed(const Layout& layout, const oci::Digest& digest,
                                   const std::unordered_set<oci::Digest>& tombstones) {
  if (tombstones.contains(digest) && file_facts(layout.partial(digest))) return std::nullopt;
  return file_facts(layout.blob(digest));
}

void recover_incoming(const Layout& layout, const std::unordered_set<oci::Digest>& tombstones,
                      Recovered& recovered, Index::Changes& changes,
                      std::vector<std::filesystem::path>& sweep) {
  for (const oci::Digest& digest : read_incoming(layout)) {
    const bool held = recovered.blobs.contains(digest);
    const auto blob = held ? std::nullopt : committed(layout, digest, tombstones);
    if (blob) {
      // Renamed, so verified, and not indexed yet.
      LOG(INFO) << digest.str() << " was committed in part; finished now";
      changes.put.emplace_back(digest, record_of(*blob));
      recovered.blobs.emplace(digest, record_of(*blob));
    } else if (!held) {
      const std::optional<Recovered::Partial> partial = resumable(layout, digest);
      if (partial) {
        recovered.partials.push_back(*partial);
        continue;
      }
      LOG(INFO) << "the partial blob " << digest.str() << " cannot be resumed; removed";
    }
    sweep.push_back(layout.partial(digest));
    sweep.push_back(layout.partial_map(digest));
  }
}

Recovered recover_files(const Layout& layout) {
  Index::Opened opened = open_index(layout);
  Recovered recovered{.index = std::move(opened.index),
                      .blobs = std::move(opened.content.blobs),
                      .complete = opened.content.complete};
  Index::Changes changes;
  std::vector<std::filesystem::path> sweep;
  recover_incoming(layout, {opened.content.tombstones.begin(), opened.content.tombstones.end()},
                   recovered, changes, sweep);

  for (const oci::Digest& digest : opened.content.tombstones) {
    const auto held = recovered.blobs.find(digest);
    if (held != recovered.blobs.end() && !held->second.inside) continue;
    remove_file(layout.blob(digest));
    recovered.removed.insert(digest);
  }
  recovered.index->apply(changes);
  // The map of a finished commit goes last: it is what leads back here after another crash.
  for (const auto& path : sweep) remove_file(path);
  return recovered;
}

}  // namespace

IndexRecord record_of(const FileFacts& file) {
  const int64_t modified = file.modified * 1'000'000;
  return {file.size, file.modified, modified, {.since = modified}};
}

Recovered recover(const Layout& layout) {
  try {
    return recover_files(layout);
  } catch (const std::filesystem::filesystem_error& error) {
    throw base::IoError(error.code().value(), "cache directory: " + error.path1().string());
  }
}

}  // namespace cache

#include "cache/tree_walk.h"

#include <glog/logging.h>

#include <system_error>

#include "base/error.h"

namespace cache {
namespace {

constexpr size_t kBatch = 256;

}  // namespace

bool walk_tree(const Layout& layout,
               const std::function<bool(const std::vector<oci::Digest>&)>& visit) {
  try {
    std::vector<oci::Digest> batch;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(layout.blobs())) {
      if (entry.is_directory()) continue;
      const std::optional<oci::Digest> digest = layout.digest_of_blob(entry.path());
      if (!digest || entry.is_symlink()) {
        LOG(WARNING) << entry.path() << " is not a blob; left alone";
        continue;
      }
      batch.push_back(*digest);
      if (batch.size() < kBatch) continue;
      if (!visit(batch)) return false;
      batch.clear();
    }
    return batch.empty() || visit(batch);
  } catch (const std::filesystem::filesystem_error& error) {
    throw base::IoError(error.code().value(), "cache directory: " + error.path1().string());
  }
}

}  // namespace cache

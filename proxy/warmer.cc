#include "proxy/warmer.h"

#include <glog/logging.h>

#include <algorithm>
#include <deque>

#include "base/error.h"
#include "base/fault_point.h"

namespace proxy {
namespace {

// Indexes may contain indexes; more than this is no image.
constexpr size_t kMaxManifests = 1000;
constexpr size_t kMaxBlobs = 100'000;
constexpr size_t kPrefetches = 16;

bool wanted(const oci::Descriptor& child, const std::vector<oci::Platform>& platforms) {
  const auto means_child = [&](const oci::Platform& each) { return child.platform.meant_by(each); };
  if (platforms.empty() || std::ranges::any_of(platforms, means_child)) return true;
  // An index in an index says of its own children what they run on.
  return child.platform == oci::Platform{} && (child.media_type == oci::media_type::kOciIndex ||
                                               child.media_type == oci::media_type::kDockerList);
}

// Foreign layers are not in the registry.
bool fetchable(const oci::Descriptor& blob) { return blob.distributable && blob.urls.empty(); }

}  // namespace

base::Task<std::variant<Image, Ending>> Warmer::resolve(DocumentName name,
                                                        std::vector<oci::Platform> platforms) {
  std::optional<Image> image;
  std::set<oci::Digest> seen;
  std::deque<DocumentName> open{name};
  while (!open.empty()) {
    const DocumentName next = std::move(open.front());
    open.pop_front();
    std::variant<Document, Ending> found = co_await documents_.get(next);
    if (auto* ending = std::get_if<Ending>(&found)) co_return std::move(*ending);
    const Document document = std::get<Document>(std::move(found));
    const oci::Digest& digest = document.reference.digest;
    if (!image) image.emplace(digest);
    seen.insert(digest);
    image->manifests.push_back(digest);

    std::variant<std::string, Ending> read = co_await documents_.read(next, document);
    if (auto* ending = std::get_if<Ending>(&read)) co_return std::move(*ending);
    const std::string& bytes = std::get<std::string>(read);
    const auto manifest = co_await pool_.run_sized(bytes.size(), [&] {
      base::fault_point("warmer.parse");
      return oci::parse_manifest(bytes, "");
    });
    if (!manifest) co_return Ending{Outcome::absent, next.key() + ": " + manifest.error(), ""};
    for (const oci::Descriptor& child : manifest->manifests) {
      if (!wanted(child, platforms) || !seen.insert(child.digest).second) continue;
      open.push_back(DocumentName::manifest(name.upstream, name.repository, child.digest));
    }
    if (manifest->config && seen.insert(manifest->config->digest).second) {
      image->blobs.push_back(*manifest->config);
    }
    for (const oci::Descriptor& blob : manifest->blobs) {
      if (fetchable(blob) && seen.insert(blob.digest).second) image->blobs.push_back(blob);
    }
    if (image->manifests.size() + open.size() > kMaxManifests || image->blobs.size() > kMaxBlobs) {
      co_return Ending{Outcome::absent, next.key() + ": more than an image has", ""};
    }
  }
  co_return std::move(*image);
}

base::Task<Warmer::Warmed> Warmer::warm(DocumentName name) {
  Warmed warmed{.ending = {Outcome::verified, "", ""}};
  try {
    std::variant<Image, Ending> image =
        co_await resolve(name, name.upstream->config().image.platforms);
    if (auto* failed = std::get_if<Ending>(&image)) co_return Warmed{std::move(*failed)};
    warmed.blobs = std::get<Image>(image).blobs.size();
    BlobFills fills = fill(name, std::get<Image>(std::move(image)));
    while (true) {
      std::optional<BlobFills::Ended> blob = co_await fills.next();
      if (!blob) break;
      const Outcome outcome = blob->ending.outcome;
      if (outcome != Outcome::verified && warmed.ending.outcome == Outcome::verified) {
        warmed.ending = std::move(blob->ending);
      }
      if (outcome == Outcome::cancelled) break;  // and so would be all that follow
    }
  } catch (const base::IoError& e) {
    warmed.ending = {Outcome::storage_failed, e.what(), ""};
  }
  co_return warmed;
}

void Warmer::prefetch(const DocumentName& name, const Document& document) {
  const oci::Digest digest = document.reference.digest;
  {
    const std::lock_guard lock(mutex_);
    if (prefetching_.size() >= kPrefetches || !prefetching_.insert(digest).second) return;
  }
  workers_.here().tasks.spawn(
      run_prefetch(DocumentName::manifest(name.upstream, name.repository, digest), digest));
}

base::Task<void> Warmer::run_prefetch(DocumentName name, oci::Digest digest) {
  const Warmed warmed = co_await warm(name);
  if (warmed.ending.outcome != Outcome::verified) {
    LOG(INFO) << name.key() << ": not all of the image could be prefetched: " << warmed.ending.why;
  }
  const std::lock_guard lock(mutex_);
  prefetching_.erase(digest);
}

}  // namespace proxy

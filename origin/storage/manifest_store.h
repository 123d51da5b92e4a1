// Manifests: their bytes, kept among the blobs, each repository's links to the revisions it has,
// and which of them refer to a subject.
//
// All functions block: run them on the pool. Any thread, any number of replicas on one directory.
// IoError when the storage fails.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/digest.h"
#include "oci/manifest.h"
#include "origin/storage/layout.h"

namespace origin {

class ManifestStore {
 public:
  explicit ManifestStore(const Layout& layout) : layout_(layout) {}

  // The bytes, if the repository has this manifest and its bytes still match the digest: torn ones,
  // which a crash of another program may have left, are logged and absent.
  std::optional<std::string> get(const std::string& repository, const oci::Digest& digest) const;
  bool exists(const std::string& repository, const oci::Digest& digest) const;
  // Whether it has anything to remove(): a link, readable or not, with bytes or without.
  bool linked(const std::string& repository, const oci::Digest& digest) const;

  // Stores the bytes, whose digest this is, then the entry under its subject, then the link by
  // which the repository has it, each durable before the next.
  void put(const std::string& repository, const oci::Digest& digest, std::string_view bytes,
           const std::optional<oci::Digest>& subject);

  // Writes what put() has linked again if a delete that had begun before has removed it: to be
  // called once all that leads to the manifest is there.
  void keep(const std::string& repository, const oci::Digest& digest,
            const std::optional<oci::Digest>& subject);

  // Takes the manifest from the repository; false if it was not there. The caller has removed the
  // tags that name it. Nothing of it need be readable.
  bool remove(const std::string& repository, const oci::Digest& digest);

  // The manifests that were put with this subject, in no particular order. Some may be gone since;
  // those that Distribution stored, or whose entries cannot be read, are not among them.
  std::vector<oci::Digest> referrers(const std::string& repository,
                                     const oci::Digest& subject) const;

 private:
  const Layout& layout_;
};

}  // namespace origin

// Every path name of the storage, which is the tree that CNCF Distribution 2.8 and 3.x use: either
// program may serve a directory that the other has written. Pure; no I/O.
//
//   <rootdirectory>/
//     entrepot-secret                                    ours: shared by the replicas
//     docker/registry/v2/
//       blobs/<alg>/<hex[0:2]>/<hex>/data                blobs and manifests
//       repositories/<name>/
//         _layers/<alg>/<hex>/link                       the repository has this blob
//         _manifests/revisions/<alg>/<hex>/link          the repository has this manifest
//         _manifests/tags/<tag>/current/link             what the tag names now
//         _manifests/tags/<tag>/index/<alg>/<hex>/link   what it has ever named
//         _referrers/<alg>/<hex>/<alg>/<hex>/link        ours: subject / manifest that names it
//         _uploads/<uuid>/data                           bytes so far
//         _uploads/<uuid>/lease                          ours: a request is writing it
//         _uploads/<uuid>/inherited                      ours: a lease was not given back
//         _uploads/<uuid>/startedat                      RFC 3339, UTC
//         _uploads/<uuid>/hashstates/<algorithm>/<offset>  the hash after so many bytes
//
// A link is the text of a digest without a newline. Distribution skips names of a repository that
// begin with '_' and that it does not know.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "oci/digest.h"

namespace origin {

class Layout {
 public:
  using Path = std::filesystem::path;

  // `root` is Distribution's storage.filesystem.rootdirectory.
  explicit Layout(Path root) : root_(std::move(root)), tree_(root_ / "docker/registry/v2") {}

  // The callers' part: repository names, tags and upload ids are valid (oci/name.h), which keeps
  // every path inside the tree.
  const Path& root() const { return root_; }
  Path secret() const { return root_ / "entrepot-secret"; }
  Path repositories() const { return tree_ / "repositories"; }
  Path repository(const std::string& name) const { return repositories() / name; }

  Path blob(const oci::Digest& digest) const;

  Path layers(const std::string& repository) const;
  Path layer_link(const std::string& repository, const oci::Digest& digest) const;

  Path manifests(const std::string& repository) const;
  Path revision_link(const std::string& repository, const oci::Digest& digest) const;

  Path tags(const std::string& repository) const;
  Path tag(const std::string& repository, const std::string& tag) const;
  Path tag_current_link(const std::string& repository, const std::string& tag) const;
  Path tag_index(const std::string& repository, const std::string& tag) const;
  Path tag_index_link(const std::string& repository, const std::string& tag,
                      const oci::Digest& digest) const;

  Path referrers(const std::string& repository, const oci::Digest& subject) const;
  Path referrer_link(const std::string& repository, const oci::Digest& subject,
                     const oci::Digest& manifest) const;

  Path uploads(const std::string& repository) const;
  Path upload(const std::string& repository, const std::string& id) const;
  Path upload_data(const std::string& repository, const std::string& id) const;
  Path upload_lease(const std::string& repository, const std::string& id) const;
  Path upload_inherited(const std::string& repository, const std::string& id) const;
  Path upload_started_at(const std::string& repository, const std::string& id) const;
  Path upload_hash_state(const std::string& repository, const std::string& id, uint64_t offset,
                         oci::Algorithm algorithm = oci::Algorithm::sha256) const;

 private:
  Path root_;
  Path tree_;
};

}  // namespace origin

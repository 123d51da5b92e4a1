#include "origin/storage/layout.h"

namespace origin {
namespace {

std::filesystem::path digest_path(const oci::Digest& digest) {
  return std::filesystem::path(oci::algorithm_name(digest.algorithm())) / digest.hex();
}

}  // namespace

Layout::Path Layout::blob(const oci::Digest& digest) const {
  const std::string hex = digest.hex();
  return tree_ / "blobs" / oci::algorithm_name(digest.algorithm()) / hex.substr(0, 2) / hex /
         "data";
}

Layout::Path Layout::layers(const std::string& name) const { return repository(name) / "_layers"; }

Layout::Path Layout::layer_link(const std::string& name, const oci::Digest& digest) const {
  return layers(name) / digest_path(digest) / "link";
}

Layout::Path Layout::manifests(const std::string& name) const {
  return repository(name) / "_manifests";
}

Layout::Path Layout::revision_link(const std::string& name, const oci::Digest& digest) const {
  return manifests(name) / "revisions" / digest_path(digest) / "link";
}

Layout::Path Layout::tags(const std::string& name) const { return manifests(name) / "tags"; }

Layout::Path Layout::tag(const std::string& name, const std::string& tag) const {
  return tags(name) / tag;
}

Layout::Path Layout::tag_current_link(const std::string& name, const std::string& tag) const {
  return this->tag(name, tag) / "current/link";
}

Layout::Path Layout::tag_index(const std::string& name, const std::string& tag) const {
  return this->tag(name, tag) / "index";
}

Layout::Path Layout::tag_index_link(const std::string& name, const std::string& tag,
                                    const oci::Digest& digest) const {
  return tag_index(name, tag) / digest_path(digest) / "link";
}

Layout::Path Layout::referrers(const std::string& name, const oci::Digest& subject) const {
  return repository(name) / "_referrers" / digest_path(subject);
}

Layout::Path Layout::referrer_link(const std::string& name, const oci::Digest& subject,
                                   const oci::Digest& manifest) const {
  return referrers(name, subject) / digest_path(manifest) / "link";
}

Layout::Path Layout::uploads(const std::string& name) const {
  return repository(name) / "_uploads";
}

Layout::Path Layout::upload(const std::string& name, const std::string& id) const {
  return uploads(name) / id;
}

Layout::Path Layout::upload_data(const std::string& name, const std::string& id) const {
  return upload(name, id) / "data";
}

Layout::Path Layout::upload_lease(const std::string& name, const std::string& id) const {
  return upload(name, id) / "lease";
}

Layout::Path Layout::upload_inherited(const std::string& name, const std::string& id) const {
  return upload(name, id) / "inherited";
}

Layout::Path Layout::upload_started_at(const std::string& name, const std::string& id) const {
  return upload(name, id) / "startedat";
}

Layout::Path Layout::upload_hash_state(const std::string& name, const std::string& id,
                                       uint64_t offset, oci::Algorithm algorithm) const {
  return upload(name, id) / "hashstates" / oci::algorithm_name(algorithm) / std::to_string(offset);
}

}  // namespace origin

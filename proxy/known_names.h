// Known names: which names of upstreams lead to which manifests and lists, and these to which
// blobs, as far as they are held. All of it blocks: on the pool only.
#pragma once

#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "cache/references.h"
#include "oci/digest.h"
#include "proxy/store.h"

namespace proxy {

struct KnownName {
  std::string key;         // in the References
  std::string upstream;    // its name
  std::string repository;  // its name at the upstream
  std::string target;      // "/v2/app/manifests/latest"
  oci::Digest digest;
};

// What a key of the References is the key of.
cache::NameFacts facts_of(std::string_view key);

// All of them, in no order. base::IoError.
std::vector<KnownName> known_names(const cache::References& references);

// The manifests, configs and layers that a manifest refers to; none if it is not held or is no
// manifest. Not a use of it. base::IoError.
std::vector<oci::Digest> referred_by(const cache::BlobStore& store, const oci::Digest& manifest);

// The names that lead to this blob: themselves, or by the manifests that they lead to. In the order
// of their targets, `most` of them. base::IoError.
std::vector<KnownName> names_leading_to(const Store::Held& held, const oci::Digest& digest,
                                        size_t most);

}  // namespace proxy

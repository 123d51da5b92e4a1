// References: what names led to when their upstreams were last asked, on disk (LMDB): a tag to the
// digest of its manifest, a list of tags to that of its text. What a digest stands for is a blob in
// the BlobStore, which may have been evicted since.
//
// Losing an entry costs a request to an upstream, so a table that cannot be read is begun anew, and
// of a full one those go that were validated longest ago. An entry that was put is on disk before
// put() returns; one that was put just before a power cut may be an older one afterwards.
//
// In a directory of its own that no other process may use (the caller's lock). Thread-safe. All
// functions block: pool threads only. Failure is IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "oci/digest.h"

namespace cache {

struct Reference {
  oci::Digest digest;
  std::string media_type;
  int64_t validated_at = 0;  // Unix seconds: when the upstream last said so
  // More of what it said, by name; the caller's business.
  std::vector<std::pair<std::string, std::string>> fields;

  bool operator==(const Reference&) const = default;
};

class References {
 public:
  // How many there are at most, if nobody says otherwise: some 50 MiB.
  static constexpr size_t kCapacity = 100'000;

  // Opens what is in the directory, which is created if need be.
  explicit References(const std::filesystem::path& directory, size_t capacity = kCapacity);
  ~References();

  std::optional<Reference> find(std::string_view name) const;
  // Adds or replaces.
  void put(std::string_view name, const Reference& reference);
  // False if there was none.
  bool remove(std::string_view name);
  // The same of several at once; returns how many there were.
  size_t remove(std::span<const std::string> names);
  // All of them, in no order. The function must not call back.
  void for_each(const std::function<void(std::string_view, const Reference&)>& visit) const;
  size_t size() const;

 private:
  struct Environment;

  const size_t capacity_;
  std::unique_ptr<Environment> environment_;
};

}  // namespace cache

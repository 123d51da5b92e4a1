// References: what names led to when their upstreams were last asked, on disk (LMDB): a tag to the
// digest of its manifest, a list of tags to that of its text. What a digest stands for is a blob in
// the BlobStore, which may have been evicted since.
//
// Losing an entry costs a request to an upstream, so a table that cannot be read is begun anew, and
// of a full one a tenth goes. Lists go first, because any client can make up queries of them: they
// are a tenth of all names at most, and kListsOfARepository of a repository. Then go the tags and
// digests that were asked for longest ago, to the hour; of one hour, tags before digests.
//
// An entry that was put is on disk before put() returns; one that was put just before a power cut
// may be an older one afterwards. When it is used is written at most once an hour, with what is
// written next, or at the end.
//
// In a directory of its own that no other process may use (the caller's lock). Thread-safe. All
// functions block: pool threads only. Failure is IoError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
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

// What a name is, as far as it matters for how long it is remembered.
struct NameFacts {
  enum class Kind { list, tag, digest };
  Kind kind = Kind::list;
  std::string repository;  // among those of all upstreams
};

class References {
 public:
  using Classify = std::function<NameFacts(std::string_view name)>;

  // How many there are at most, if nobody says otherwise: some 50 MiB.
  static constexpr size_t kCapacity = 100'000;
  static constexpr size_t kListsOfARepository = 100;

  // Opens what is in the directory, which is created if need be. Reads all of it.
  References(const std::filesystem::path& directory, Classify classify,
             size_t capacity = kCapacity);
  ~References();

  std::optional<Reference> find(std::string_view name) const;
  // The same for a client, in Unix seconds: what is asked for is remembered longer.
  std::optional<Reference> use(std::string_view name, int64_t now);
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
  using Uses = std::unordered_map<std::string, int64_t>;

  std::string open_what_is_there(const std::filesystem::path& directory);
  void load_lists();
  size_t lists() const;
  Uses take_uses();

  const size_t capacity_;
  const Classify classify_;
  std::unique_ptr<Environment> environment_;

  std::mutex write_mutex_;  // held by who changes the table
  // The keys of each repository's lists, the one that was put longest ago first. Guarded by
  // write_mutex_.
  std::unordered_map<std::string, std::vector<std::string>> lists_;

  std::mutex uses_mutex_;
  Uses uses_;  // guarded by uses_mutex_; by key, when: not on disk yet
};

}  // namespace cache

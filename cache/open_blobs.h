// OpenBlobs: which blobs are open, and which of them stay open because they were used last: the hot
// ones.
//
// This is where "in use" is decided: a blob is in use while someone outside holds its open Blob, or
// is opening it. Belongs to Holdings, under its mutex. What is hot no longer is returned: its file
// is closed when the caller has unlocked.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/unique_fd.h"
#include "cache/blob_store.h"
#include "cache/index.h"
#include "cache/space.h"

namespace cache {

// What an open blob is read from: its file, or, if it is kept in the index, its bytes.
using OpenContent = std::variant<base::UniqueFd, std::string>;

// The space is shared with the blob's entry: an unlinked file takes it until its last reader has
// closed it.
std::shared_ptr<const Blob> make_open_blob(const IndexRecord& record,
                                           std::shared_ptr<const Space::Reservation> space,
                                           OpenContent content);

class OpenBlobs {
 public:
  // Of one blob.
  struct State {
    // Exact: a first reference from outside is only ever made under the mutex.
    bool in_use() const { return opening > 0 || blob.use_count() > (hot ? 1 : 0); }

    std::weak_ptr<const Blob> blob;
    unsigned opening = 0;  // pins
    std::shared_ptr<const Blob> hot;
    std::list<State*>::iterator place;  // if hot
  };

  explicit OpenBlobs(size_t most_hot) : most_hot_(most_hot) {}

  // It was used. Returns the blob that is hot no longer.
  std::shared_ptr<const Blob> make_hot(State& state, std::shared_ptr<const Blob> blob);
  std::shared_ptr<const Blob> cool(State& state);
  std::vector<std::shared_ptr<const Blob>> cool_all();

 private:
  const size_t most_hot_;
  std::list<State*> hot_;  // most recently used first
};

}  // namespace cache

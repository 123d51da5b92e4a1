#include "cache/open_blobs.h"

#include <fcntl.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "cache/files.h"

namespace cache {
namespace {

class OpenBlob final : public Blob {
 public:
  OpenBlob(const IndexRecord& record, std::shared_ptr<const Space::Reservation> space,
           OpenContent content)
      : record_(record), space_(std::move(space)), content_(std::move(content)) {}
  int fd() const override {
    const auto* file = std::get_if<base::UniqueFd>(&content_);
    return file == nullptr ? -1 : file->get();
  }
  std::optional<std::string_view> bytes() const override {
    const auto* bytes = std::get_if<std::string>(&content_);
    return bytes == nullptr ? std::nullopt : std::optional<std::string_view>(*bytes);
  }
  base::UniqueFd duplicate() const override {
    base::UniqueFd copy;
    if (const auto in_memory = bytes()) {
      copy = memory_file(in_memory->size());
      base::write_at(copy.get(), 0, *in_memory);
    } else {
      copy.reset(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
      if (!copy) throw base::IoError("dup");
    }
    return copy;
  }
  uint64_t size() const override { return record_.size; }
  int64_t stored_at() const override { return record_.stored_at; }

 private:
  const IndexRecord record_;
  const std::shared_ptr<const Space::Reservation> space_;
  const OpenContent content_;  // after space_: closed before the space is given back
};

}  // namespace

std::shared_ptr<const Blob> make_open_blob(const IndexRecord& record,
                                           std::shared_ptr<const Space::Reservation> space,
                                           OpenContent content) {
  return std::make_shared<const OpenBlob>(record, std::move(space), std::move(content));
}

std::shared_ptr<const Blob> OpenBlobs::make_hot(State& state, std::shared_ptr<const Blob> blob) {
  if (state.hot) {
    hot_.splice(hot_.begin(), hot_, state.place);
    return nullptr;
  }
  state.hot = std::move(blob);
  state.place = hot_.insert(hot_.begin(), &state);
  return hot_.size() <= most_hot_ ? nullptr : cool(*hot_.back());
}

std::shared_ptr<const Blob> OpenBlobs::cool(State& state) {
  if (!state.hot) return nullptr;
  hot_.erase(state.place);
  return std::move(state.hot);
}

std::vector<std::shared_ptr<const Blob>> OpenBlobs::cool_all() {
  std::vector<std::shared_ptr<const Blob>> cooled;
  while (!hot_.empty()) cooled.push_back(cool(*hot_.back()));
  return cooled;
}

}  // namespace cache

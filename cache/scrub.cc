#include "cache/scrub.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/random.h"
#include "cache/store_impl.h"

namespace cache {
namespace {

constexpr uint64_t kPortion = 1 << 20;
// Of memory; what is read ends at one, so that none is in the page cache for its other half.
constexpr uint64_t kMemoryPage = 4096;
// What looking at a blob counts as, however small it is.
constexpr uint64_t kLook = 4096;
constexpr base::Duration kLongestPause = std::chrono::seconds(1);
// On a disk that is slower than the rate: others wait for this thread.
constexpr base::Duration kLongestRun = std::chrono::seconds(1);
constexpr base::Duration kRound = std::chrono::hours(24);

// After a restart it begins anywhere, or what is last in the order might never be reached.
oci::Digest anywhere() {
  return oci::Digest::of(oci::Algorithm::sha256, std::to_string(base::random_number()));
}

bool same_file(const struct stat& one, const struct stat& other) {
  return one.st_ino == other.st_ino && one.st_ctim.tv_sec == other.st_ctim.tv_sec &&
         one.st_ctim.tv_nsec == other.st_ctim.tv_nsec;
}

// Reads some of the file from there, and leaves it as much in memory as it was; 0 at its end.
size_t read_aside(int file, uint64_t offset, std::string& buffer) {
  iovec part{buffer.data(), buffer.size()};
  const ssize_t in_memory = ::preadv2(file, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (in_memory > 0) return static_cast<size_t>(in_memory);
  const size_t size = base::read_at(file, offset, buffer.data(), buffer.size());
  ::posix_fadvise(file, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
  return size;
}

}  // namespace

Scrub::Scrub(BlobStore::Impl& store)
    : store_(store), last_(store.options.clock->now()), round_begins_(last_), at_(anywhere()) {}

void Scrub::run(uint64_t rate, const std::function<bool()>& go_on) {
  const base::TimePoint now = store_.options.clock->now();
  const std::chrono::duration<double> pause = std::min(now - last_, kLongestPause);
  last_ = now;
  const auto allowed = static_cast<uint64_t>(static_cast<double>(rate) * pause.count());
  const uint64_t bad_before = store_.bad_copies;
  uint64_t done = std::exchange(ahead_, 0);
  while (done < allowed && now >= round_begins_ && go_on()) {
    const uint64_t most = std::min(allowed - done, kPortion);
    const uint64_t read = reading_ || begin_next() ? read_portion(most) : 0;
    done += std::max(read, kLook);
    const bool slow = store_.options.clock->now() - now >= kLongestRun;
    if (slow || store_.bad_copies > bad_before) break;
  }
  ahead_ = done - std::min(done, allowed);
}

// False if the next one has no file, or there is none.
bool Scrub::begin_next() {
  const auto next = store_.index->after(at_);
  if (!next) {
    at_.reset();
    round_begins_ = std::max(round_begins_ + kRound, last_);
    return false;
  }
  at_ = next->first;
  if (next->second.inside) return false;
  reading_ = Reading{next->first, oci::Hasher(next->first.algorithm()), std::nullopt};
  return true;
}

// Gives how many bytes were read; ends the reading with the last ones.
uint64_t Scrub::read_portion(uint64_t most) {
  const oci::Digest digest = reading_->digest;
  const std::optional<Holdings::Pin> pin = store_.holdings.pin(digest);
  uint64_t read = 0;
  std::string why;
  try {
    if (pin && !pin->inside()) read = hash_portion(pin->size(), most, why);
  } catch (const base::IoError& error) {
    reading_.reset();
    if (!base::is_file_error(error.number())) throw;
    why = error.what();
  }
  read_ += read;
  if (read == 0) reading_.reset();
  if (!why.empty()) {
    const std::lock_guard room(store_.room_mutex);
    store_.drop(store_.holdings.take(digest, &*pin), why);
  }
  return read;
}

// 0 if there is nothing more to read of this copy. `why` it is bad, if it is.
uint64_t Scrub::hash_portion(uint64_t size, uint64_t most, std::string& why) {
  const base::UniqueFd file = base::open_file(store_.layout.blob(reading_->digest), O_RDONLY);
  struct stat facts{};
  // One that is gone is found out when somebody asks for it.
  if (!file || ::fstat(file.get(), &facts) != 0) return 0;
  if (!reading_->file) reading_->file = facts;
  if (!same_file(*reading_->file, facts)) return 0;
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_RANDOM);
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_NOREUSE);

  oci::Hasher& hasher = reading_->hasher;
  const uint64_t end = (hasher.length() + most + kMemoryPage - 1) / kMemoryPage * kMemoryPage;
  std::string buffer(std::min(end, size) - hasher.length(), '\0');
  const size_t read = read_aside(file.get(), hasher.length(), buffer);
  if (read == 0 && !buffer.empty()) throw base::IoError(EIO, "its file is too short");
  hasher.update(std::string_view(buffer).substr(0, read));
  if (hasher.length() < size) return read;
  const oci::Digest found = hasher.digest();
  if (found != reading_->digest) why = "its bytes have digest " + found.str();
  reading_.reset();
  return read;
}

}  // namespace cache

#include "origin/storage/upload_lease.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/uuid.h"
#include "origin/storage/files.h"

namespace origin {
namespace {

using std::chrono::steady_clock;

constexpr auto kRenewAfter = UploadLease::kLeaseTime / 10;
constexpr uint64_t kMaxHostId = 128;
constexpr int kLeaseAttempts = 10;

// This host, until it starts anew.
const std::string& host_id() {
  static const std::string id =
      base::read_file("/proc/sys/kernel/random/boot_id", kMaxHostId).value_or("");
  return id;
}

// Makes a lease's file with its holder in it: this host, if other requests here can tell by the
// lock whether it still lives. Empty if the name is taken or the directory does not exist.
base::UniqueFd make_lease(const std::filesystem::path& file) {
  base::UniqueFd fd;
  try {
    fd = open_shared(file, O_RDWR | O_CREAT | O_EXCL);
  } catch (const base::IoError& e) {
    if (e.number() != EEXIST) throw;
  }
  // Waits for nobody but a request that is just looking whether the lock is free.
  if (fd && ::flock(fd.get(), LOCK_EX) == 0) base::write_at(fd.get(), 0, host_id());
  return fd;
}

std::chrono::nanoseconds touched(int fd) {
  struct stat s{};
  if (::fstat(fd, &s) != 0) throw base::IoError("stat of an upload's lease");
  return std::chrono::seconds(s.st_mtim.tv_sec) + std::chrono::nanoseconds(s.st_mtim.tv_nsec);
}

// Whether the holder of this lease is dead for sure: it was on this host, and its lock is ours now.
bool ended_here(int fd) {
  std::string id(kMaxHostId, '\0');
  id.resize(base::read_at(fd, 0, id.data(), id.size()));
  return !id.empty() && id == host_id();
}

// Takes the lease over from a holder that seems to be dead; false if it lives.
bool replace(const std::filesystem::path& file, const base::UniqueFd& old, bool locked,
             base::UniqueFd& fd) {
  const std::filesystem::path candidate = file.string() + "." + base::random_uuid();
  fd = make_lease(candidate);
  if (!fd) return false;
  // The storage's clock against itself: a file just made against the one last touched. Synced, so
  // that it is the server's time and not this host's.
  if (::fsync(fd.get()) != 0) throw base::IoError("syncing " + candidate.string());
  const bool dead = (locked && ended_here(old.get())) ||
                    touched(fd.get()) - touched(old.get()) > UploadLease::kLeaseTime;
  if (dead && ::rename(candidate.c_str(), file.c_str()) == 0) return true;
  ::unlink(candidate.c_str());
  return false;
}

}  // namespace

std::expected<UploadLease, UploadUnavailable> UploadLease::take(const std::filesystem::path& file) {
  for (int attempt = 0; attempt < kLeaseAttempts; ++attempt) {
    if (base::UniqueFd fd = make_lease(file)) return UploadLease(file, std::move(fd), false);
    const base::UniqueFd old = open_shared(file, O_RDWR);
    if (!old) {
      if (!refresh(file.parent_path())) return std::unexpected(UploadUnavailable::unknown);
      continue;  // it has just been given back
    }
    // Held until the lease has been replaced, so that one request here does that and not two.
    const bool locked = ::flock(old.get(), LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) break;
    if (!names_file(file, old.get())) continue;
    base::UniqueFd fd;
    if (!replace(file, old, locked, fd)) break;
    LOG(WARNING) << file.string() << ": its holder has gone without giving it back; taken over";
    return UploadLease(file, std::move(fd), true);
  }
  return std::unexpected(UploadUnavailable::busy);
}

UploadLease::UploadLease(std::filesystem::path file, base::UniqueFd fd, bool inherited)
    : file_(std::move(file)), fd_(std::move(fd)), inherited_(inherited) {}

void UploadLease::renew() {
  const auto now = steady_clock::now();
  if (!fd_ || now - renewed_ < kRenewAfter) return;
  // Both times at the server's now. A lease that somebody has taken over meanwhile is not touched.
  if (::futimens(fd_.get(), nullptr) == 0) renewed_ = now;
}

void UploadLease::release() {
  if (!fd_) return;
  // One that may have expired may have a new holder: then it is left to expire.
  if (steady_clock::now() - renewed_ < kLeaseTime / 2) ::unlink(file_.c_str());
  fd_.reset();
}

}  // namespace origin

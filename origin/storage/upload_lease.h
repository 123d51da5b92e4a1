// UploadLease: the right to write one upload, which one request at a time has, on whichever host.
//
// It is a file in the upload's directory, made with O_EXCL, which is atomic on NFSv3 too, and
// removed when the request ends. So it needs no lock service. A holder that died leaves it behind:
//
// - on this host: the holder had the file locked (flock), and the lock is gone;
// - on another: the file has not been touched for kLeaseTime by the storage's own clock. A holder
//   touches it while it works.
//
// The next holder then inherits the lease. That the one before it is dead is only likely: it may
// be a host that was cut off and has bytes to flush yet. So whoever inherits must take the upload's
// bytes over into a new file, where a late write does not reach them: see Upload.
//
// All functions block: run them on the pool. A lease belongs to one request. IoError when the
// storage fails.
#pragma once

#include <chrono>
#include <expected>
#include <filesystem>

#include "base/unique_fd.h"

namespace origin {

enum class UploadUnavailable {
  unknown,  // no such upload
  busy,     // another request is writing it
};

class UploadLease {
 public:
  static constexpr std::chrono::minutes kLeaseTime{5};

  // `file` is the lease's name; `unknown` if its directory does not exist.
  static std::expected<UploadLease, UploadUnavailable> take(const std::filesystem::path& file);

  UploadLease(UploadLease&&) = default;
  UploadLease& operator=(UploadLease&&) = delete;
  ~UploadLease() { release(); }

  // Whether the holder before this one has not given it back.
  bool inherited() const { return inherited_; }

  // Says that the holder is alive; to be called now and then during long work.
  void renew();

  // Gives it back, before the end of its life if need be.
  void release();

 private:
  UploadLease(std::filesystem::path file, base::UniqueFd fd, bool inherited);

  std::filesystem::path file_;
  base::UniqueFd fd_;  // none once it is released
  bool inherited_;
  std::chrono::steady_clock::time_point renewed_ = std::chrono::steady_clock::now();
};

}  // namespace origin

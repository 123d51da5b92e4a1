#include "origin/secret.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/durable_file.h"
#include "base/error.h"
#include "oci/digest.h"

namespace origin {
namespace {

constexpr uint64_t kMaxSecret = 4096;

std::string random_hex() {
  std::array<char, 32> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw base::IoError("getrandom");
  }
  return oci::Digest::from_bytes(oci::Algorithm::sha256, {bytes.data(), bytes.size()})->hex();
}

// Gives the secret its place, unless another replica was faster: false then.
bool publish(const std::filesystem::path& path, const std::string& secret) {
  // Written whole beside its place first: link(2) gives it its name only if nobody else was faster.
  const std::filesystem::path mine = path.string() + "." + random_hex().substr(0, 16) + ".tmp";
  base::create_directories_durably(path.parent_path());
  base::write_file_durably(mine, secret, 0600);
  const int linked = ::link(mine.c_str(), path.c_str());
  const int error = errno;
  ::unlink(mine.c_str());
  base::sync_directory(path.parent_path());
  if (linked != 0 && error != EEXIST) throw base::IoError(error, "creating " + path.string());
  return linked == 0;
}

bool not_allowed(int error) { return error == EROFS || error == EACCES; }

}  // namespace

std::string shared_secret(const std::filesystem::path& path) {
  if (const auto secret = base::read_file(path, kMaxSecret); secret && !secret->empty()) {
    return *secret;
  }
  std::string secret = random_hex();
  try {
    if (publish(path, secret)) return secret;
  } catch (const base::IoError& e) {
    if (!not_allowed(e.number())) throw;
    LOG(WARNING)
        << "uploads that begin here cannot go on with another replica, nor after a restart, "
           "unless http.secret is set, because the storage keeps no secret: "
        << e.what();
    return secret;
  }
  const auto theirs = base::read_file(path, kMaxSecret);
  if (!theirs || theirs->empty()) {
    throw base::IoError(EINVAL, path.string() + " is empty; remove it to have a new one made");
  }
  return *theirs;
}

}  // namespace origin

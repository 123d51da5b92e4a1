#include "bench/blobs.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/digest.h"

namespace bench {
namespace {

constexpr std::string_view kPrefix = "/v2/library/bench/blobs/";

}  // namespace

Blob::Blob(const std::filesystem::path& root, uint64_t seed, uint64_t size) {
  const std::filesystem::path directory = root / kPrefix.substr(1);
  std::filesystem::create_directories(directory);
  const std::filesystem::path unnamed = directory / "unnamed";
  base::UniqueFd fd(open(unnamed.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw base::IoError(unnamed);
  void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (map == MAP_FAILED) throw base::IoError("mmap " + unnamed.string());

  std::mt19937_64 random(seed);
  char* out = static_cast<char*>(map);
  for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(out + at, &word, std::min<uint64_t>(sizeof word, size - at));
  }
  bytes_ = {out, size};
  const std::string digest = oci::Digest::of(oci::Algorithm::sha256, bytes_).str();
  std::filesystem::rename(unnamed, directory / digest);
  target_ = std::string(kPrefix) + digest;
}

Blob::Blob(std::string target, std::string_view bytes) : target_(std::move(target)) {
  void* map =
      mmap(nullptr, bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) throw base::IoError("mmap");
  std::memcpy(map, bytes.data(), bytes.size());
  bytes_ = {static_cast<char*>(map), bytes.size()};
}

Blob::Blob(Blob&& other) noexcept
    : target_(std::move(other.target_)), bytes_(std::exchange(other.bytes_, {})) {}

Blob::~Blob() {
  if (!bytes_.empty()) munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

std::vector<Blob> make_blobs(const std::filesystem::path& root, size_t count, uint64_t size) {
  std::vector<Blob> blobs;
  blobs.reserve(count);
  for (size_t i = 0; i < count; ++i) blobs.emplace_back(root, size + i, size);
  return blobs;
}

}  // namespace bench

// The blobs of a benchmark: random bytes from a fixed seed, so that every run moves the same ones,
// in a directory laid out as the registry API names them, mapped so that what clients receive can
// be compared byte for byte. Read-only once made; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

class Blob {
 public:
  // Writes <root>/v2/<repository>/blobs/<digest> and maps it. Throws base::IoError.
  Blob(const std::filesystem::path& root, uint64_t seed, uint64_t size);
  // Any other content, at that request target; on no disk.
  Blob(std::string target, std::string_view bytes);
  Blob(Blob&& other) noexcept;
  Blob& operator=(Blob&&) = delete;
  ~Blob();

  uint64_t size() const { return bytes_.size(); }
  std::string_view bytes() const { return bytes_; }
  // The request target, "/v2/<repository>/blobs/<digest>".
  const std::string& target() const { return target_; }

 private:
  std::string target_;
  std::string_view bytes_;
};

std::vector<Blob> make_blobs(const std::filesystem::path& root, size_t count, uint64_t size);

}  // namespace bench

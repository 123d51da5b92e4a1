// Content digests (OCI image-spec descriptor.md "Digests"): sha256 and sha512, and the incremental
// hash behind them. Values; a Hasher belongs to one thread at a time. No I/O.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace oci {

enum class Algorithm : uint8_t { sha256, sha512 };

std::string_view algorithm_name(Algorithm algorithm);
std::optional<Algorithm> parse_algorithm(std::string_view name);

class Digest {
 public:
  // Exactly "<algorithm>:<lower-case hex of the right length>", else nullopt.
  static std::optional<Digest> parse(std::string_view text);
  // The digest of these bytes.
  static Digest of(Algorithm algorithm, std::string_view bytes);
  // From raw bytes (32 or 64); nullopt if the length is not the algorithm's.
  static std::optional<Digest> from_bytes(Algorithm algorithm, std::string_view raw);

  Algorithm algorithm() const { return algorithm_; }
  std::string hex() const;
  // "sha256:…"
  std::string str() const;
  // 32 or 64 bytes.
  std::string_view bytes() const;

  bool operator==(const Digest&) const = default;
  std::strong_ordering operator<=>(const Digest&) const = default;

 private:
  friend class Hasher;
  Digest() = default;
  Algorithm algorithm_ = Algorithm::sha256;
  std::array<uint8_t, 64> value_{};
};

// Incremental hash whose state can be saved and taken up by another process.
class Hasher {
 public:
  explicit Hasher(Algorithm algorithm);
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  Hasher(const Hasher&);
  Hasher& operator=(const Hasher&);

  void update(std::string_view bytes);
  uint64_t length() const;
  // The digest of what was hashed so far; the hasher can go on.
  Digest digest() const;

  // The mid-state in the format of Go's crypto/sha256 and crypto/sha512 MarshalBinary, which is
  // what Distribution keeps in _uploads/<uuid>/hashstates/<algorithm>/<offset>.
  std::string save() const;
  // nullopt unless `state` is a well-formed mid-state of this algorithm.
  static std::optional<Hasher> restore(Algorithm algorithm, std::string_view state);

 private:
  struct State;
  explicit Hasher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace oci

template <>
struct std::hash<oci::Digest> {
  size_t operator()(const oci::Digest& digest) const noexcept;
};

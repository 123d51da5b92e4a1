// The low-level SHA functions are deprecated in OpenSSL 3 because they bypass its providers. They
// are used here because they are the only ones whose mid-state can be taken out and put back, and
// they run the same SHA-NI code as EVP does.
#define OPENSSL_SUPPRESS_DEPRECATED

#include "oci/digest.h"

#include <openssl/sha.h>

#include <algorithm>
#include <concepts>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/ascii.h"

namespace oci {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

size_t digest_size(Algorithm algorithm) {
  return algorithm == Algorithm::sha256 ? SHA256_DIGEST_LENGTH : SHA512_DIGEST_LENGTH;
}

// The value of a lower-case hex digit, or -1.
int hex_value(char c) {
  if (base::is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// What differs between the two algorithms, as overloads on OpenSSL's contexts.
constexpr std::string_view magic(const SHA256_CTX&) { return {"sha\x03", 4}; }
constexpr std::string_view magic(const SHA512_CTX&) { return {"sha\x07", 4}; }
void init(SHA256_CTX& context) { SHA256_Init(&context); }
void init(SHA512_CTX& context) { SHA512_Init(&context); }
void update(SHA256_CTX& context, std::string_view bytes) {
  SHA256_Update(&context, bytes.data(), bytes.size());
}
void update(SHA512_CTX& context, std::string_view bytes) {
  SHA512_Update(&context, bytes.data(), bytes.size());
}
void finish(SHA256_CTX& context, uint8_t* out) { SHA256_Final(out, &context); }
void finish(SHA512_CTX& context, uint8_t* out) { SHA512_Final(out, &context); }
// The block being filled.
std::span<uint8_t> block(SHA256_CTX& context) {
  return {reinterpret_cast<uint8_t*>(context.data), SHA256_CBLOCK};
}
std::span<uint8_t> block(SHA512_CTX& context) { return context.u.p; }

// OpenSSL counts bits in two words; these are the bytes. The shift is 29 or 61.
template <typename Context>
uint64_t length_of(const Context& context) {
  return (uint64_t{context.Nh} << (8 * sizeof(context.Nh) - 3)) | (context.Nl >> 3);
}

template <typename Context>
void set_length(Context& context, uint64_t bytes) {
  using Word = decltype(context.Nl);
  context.Nh = static_cast<Word>(bytes >> (8 * sizeof(Word) - 3));
  context.Nl = static_cast<Word>(bytes) << 3;
  context.num = static_cast<unsigned>(bytes % block(context).size());
}

template <std::unsigned_integral T>
void append_big_endian(std::string& out, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(static_cast<uint8_t>(value >> shift)));
  }
}

template <std::unsigned_integral T>
T take_big_endian(std::string_view& in) {
  T value = 0;
  for (const char c : in.substr(0, sizeof(T))) {
    value = static_cast<T>(value << 8) | static_cast<uint8_t>(c);
  }
  in.remove_prefix(sizeof(T));
  return value;
}

// Go's MarshalBinary: magic, the eight chaining words, one block whose first length % block bytes
// wait to be hashed and whose rest is zero, and the length in bytes. All integers big-endian.
template <typename Context>
std::string save_context(Context context) {
  const uint64_t length = length_of(context);
  const auto buffer = block(context);
  const auto waiting = buffer.first(length % buffer.size());
  std::string out(magic(context));
  for (const auto word : context.h) append_big_endian(out, word);
  out.append(reinterpret_cast<const char*>(waiting.data()), waiting.size());
  out.append(buffer.size() - waiting.size(), '\0');
  append_big_endian(out, length);
  return out;
}

template <typename Context>
std::optional<Context> restore_context(std::string_view in) {
  Context context;
  init(context);
  const auto buffer = block(context);
  const size_t size = magic(context).size() + sizeof(context.h) + buffer.size() + sizeof(uint64_t);
  if (in.size() != size || !in.starts_with(magic(context))) return std::nullopt;

  in.remove_prefix(magic(context).size());
  for (auto& word : context.h) word = take_big_endian<std::remove_cvref_t<decltype(word)>>(in);
  const std::string_view saved = in.substr(0, buffer.size());
  in.remove_prefix(buffer.size());
  const auto length = take_big_endian<uint64_t>(in);

  // When the hash is finished the length is counted in bits, and those must fit 64 bits.
  if (length >> 61 != 0) return std::nullopt;
  const size_t waiting = length % buffer.size();
  if (saved.find_first_not_of('\0', waiting) != std::string_view::npos) return std::nullopt;
  std::ranges::copy(saved.substr(0, waiting), buffer.begin());
  set_length(context, length);
  return context;
}

}  // namespace

std::string_view algorithm_name(Algorithm algorithm) {
  return algorithm == Algorithm::sha256 ? "sha256" : "sha512";
}

std::optional<Algorithm> parse_algorithm(std::string_view name) {
  if (name == "sha256") return Algorithm::sha256;
  if (name == "sha512") return Algorithm::sha512;
  return std::nullopt;
}

std::optional<Digest> Digest::parse(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto algorithm = parse_algorithm(text.substr(0, colon));
  const std::string_view hex = text.substr(colon + 1);
  if (!algorithm || hex.size() != 2 * digest_size(*algorithm)) return std::nullopt;

  Digest digest;
  digest.algorithm_ = *algorithm;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = hex_value(hex[i]);
    const int low = hex_value(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.value_[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  return digest;
}

Digest Digest::of(Algorithm algorithm, std::string_view bytes) {
  Hasher hasher(algorithm);
  hasher.update(bytes);
  return hasher.digest();
}

std::optional<Digest> Digest::from_bytes(Algorithm algorithm, std::string_view raw) {
  if (raw.size() != digest_size(algorithm)) return std::nullopt;
  Digest digest;
  digest.algorithm_ = algorithm;
  std::ranges::copy(raw, digest.value_.begin());
  return digest;
}

std::string Digest::hex() const {
  std::string out;
  out.reserve(2 * digest_size(algorithm_));
  for (const char c : bytes()) {
    const auto byte = static_cast<uint8_t>(c);
    out.push_back(kHexDigits[byte >> 4]);
    out.push_back(kHexDigits[byte & 15]);
  }
  return out;
}

std::string Digest::str() const {
  std::string out(algorithm_name(algorithm_));
  out.push_back(':');
  out += hex();
  return out;
}

std::string_view Digest::bytes() const {
  return {reinterpret_cast<const char*>(value_.data()), digest_size(algorithm_)};
}

// Which alternative is held is the algorithm.
struct Hasher::State {
  std::variant<SHA256_CTX, SHA512_CTX> context;
};

Hasher::Hasher(Algorithm algorithm) : state_(std::make_unique<State>()) {
  if (algorithm == Algorithm::sha512) state_->context.emplace<SHA512_CTX>();
  std::visit([](auto& context) { init(context); }, state_->context);
}

Hasher::Hasher(std::unique_ptr<State> state) : state_(std::move(state)) {}
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;
Hasher::Hasher(const Hasher& other) : state_(std::make_unique<State>(*other.state_)) {}
Hasher& Hasher::operator=(const Hasher& other) {
  state_ = std::make_unique<State>(*other.state_);
  return *this;
}

void Hasher::update(std::string_view bytes) {
  std::visit([&](auto& context) { oci::update(context, bytes); }, state_->context);
}

uint64_t Hasher::length() const {
  return std::visit([](const auto& context) { return length_of(context); }, state_->context);
}

Digest Hasher::digest() const {
  Digest digest;
  digest.algorithm_ =
      std::holds_alternative<SHA256_CTX>(state_->context) ? Algorithm::sha256 : Algorithm::sha512;
  // On a copy, so that this hasher can go on.
  std::visit([&](auto context) { finish(context, digest.value_.data()); }, state_->context);
  return digest;
}

std::string Hasher::save() const {
  return std::visit([](const auto& context) { return save_context(context); }, state_->context);
}

std::optional<Hasher> Hasher::restore(Algorithm algorithm, std::string_view state) {
  const auto take_up = [](const auto& context) -> std::optional<Hasher> {
    if (!context) return std::nullopt;
    return Hasher(std::make_unique<State>(*context));
  };
  return algorithm == Algorithm::sha256 ? take_up(restore_context<SHA256_CTX>(state))
                                        : take_up(restore_context<SHA512_CTX>(state));
}

}  // namespace oci

size_t std::hash<oci::Digest>::operator()(const oci::Digest& digest) const noexcept {
  return std::hash<std::string_view>{}(digest.bytes());
}

#include "oci/digest.h"

#include <gtest/gtest.h>

#include <unordered_set>

namespace oci {
namespace {

using namespace std::string_literals;
using namespace std::string_view_literals;

constexpr Algorithm kAlgorithms[] = {Algorithm::sha256, Algorithm::sha512};

std::string unhex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i < hex.size(); i += 2) {
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}

// 0, 1, … 250, 0, 1, …
std::string pattern(size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(i % 251));
  return out;
}

// FIPS 180-4 examples, the empty string, and a pattern longer than a block of either algorithm.
struct Known {
  std::string input;
  std::string_view digest;
};
const Known kKnown[] = {
    {"", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"{}", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {std::string(1000000, 'a'),
     "sha256:cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    {pattern(300), "sha256:43f9b5d59eb108817176c6f65c2c6203a22f2ae8bc28b7a1dde45947678c5042"},
    {"",
     "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
     "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
    {"abc",
     "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
     "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {pattern(300),
     "sha512:f758e49e6fca32320310aa1b0b2e3abfeab7fc8414ba069022e8b39b7e53628b"
     "e4777edbab93a6780a8318eed48c4665ff55d68dff2e6c84b6270b4eff6df873"},
};

TEST(Digest, KnownAnswers) {
  for (const Known& known : kKnown) {
    const auto digest = Digest::parse(known.digest);
    ASSERT_TRUE(digest) << known.digest;
    EXPECT_EQ(Digest::of(digest->algorithm(), known.input), *digest);
    EXPECT_EQ(Digest::of(digest->algorithm(), known.input).str(), known.digest);
  }
}

TEST(Digest, PartsOfOne) {
  const auto digest = Digest::parse(kKnown[1].digest);
  ASSERT_TRUE(digest);
  EXPECT_EQ(digest->algorithm(), Algorithm::sha256);
  EXPECT_EQ(digest->hex(), kKnown[1].digest.substr(7));
  EXPECT_EQ(digest->bytes(), unhex(digest->hex()));
  EXPECT_EQ(Digest::of(Algorithm::sha512, "abc").bytes().size(), 64U);
}

TEST(Digest, ParseRefusesAllElse) {
  const std::string hex = std::string(kKnown[0].digest.substr(7));
  const std::string long_hex = std::string(kKnown[6].digest.substr(7));
  std::string upper = hex;
  upper[0] = 'E';
  ASSERT_TRUE(Digest::parse("sha256:" + hex));
  ASSERT_TRUE(Digest::parse("sha512:" + long_hex));
  for (const std::string& text : {
           ""s,
           ":"s,
           "sha256"s,
           "sha256:"s,
           hex,
           ":" + hex,
           "SHA256:" + hex,
           "sha256 :" + hex,
           "sha256::" + hex,
           "sha256:" + upper,
           "sha256:" + hex.substr(1),
           "sha256:" + hex + "0",
           "sha256:" + hex + "\n",
           "sha256:" + hex + "\0"s,
           " sha256:" + hex,
           "sha256:" + hex.substr(1) + "g",
           "sha256:" + hex.substr(1) + "/",
           "sha256:" + hex.substr(1) + ":",
           "sha256:" + hex.substr(1) + "`",
           "sha256:" + hex.substr(1) + "\xc3",
           "sha256:../" + hex.substr(3),
           "sha256:" + long_hex,
           "sha512:" + hex,
           "sha384:" + long_hex.substr(32),
           "sha256+b64:" + hex,
           "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"s,
       }) {
    EXPECT_FALSE(Digest::parse(text)) << text;
  }
}

TEST(Digest, FromBytesNeedsTheRightLength) {
  for (const Algorithm algorithm : kAlgorithms) {
    const Digest digest = Digest::of(algorithm, "abc");
    EXPECT_EQ(Digest::from_bytes(algorithm, digest.bytes()), digest);
    EXPECT_FALSE(Digest::from_bytes(algorithm, digest.bytes().substr(1)));
    EXPECT_FALSE(Digest::from_bytes(algorithm, ""));
    EXPECT_FALSE(Digest::from_bytes(algorithm, std::string(digest.bytes()) + "x"));
  }
  EXPECT_FALSE(Digest::from_bytes(Algorithm::sha256, std::string(64, 'x')));
}

TEST(Digest, AlgorithmNames) {
  for (const Algorithm algorithm : kAlgorithms) {
    EXPECT_EQ(parse_algorithm(algorithm_name(algorithm)), algorithm);
  }
  EXPECT_EQ(algorithm_name(Algorithm::sha512), "sha512");
  for (const std::string_view name : {"", "sha1", "sha384", "SHA256", "sha256 ", "sha2567"}) {
    EXPECT_FALSE(parse_algorithm(name)) << name;
  }
}

TEST(Digest, OrderAndHashTellApart) {
  std::unordered_set<Digest> all;
  for (const Algorithm algorithm : kAlgorithms) {
    for (int i = 0; i < 100; ++i) all.insert(Digest::of(algorithm, std::to_string(i % 50)));
  }
  EXPECT_EQ(all.size(), 100U);
  const Digest low = *Digest::from_bytes(Algorithm::sha256, std::string(32, '\x01'));
  const Digest high = *Digest::from_bytes(Algorithm::sha256, std::string(32, '\xff'));
  EXPECT_LT(low, high);
  EXPECT_LT(high, *Digest::from_bytes(Algorithm::sha512, std::string(64, '\0')));
  EXPECT_NE(
      low, *Digest::from_bytes(Algorithm::sha512, std::string(32, '\x01') + std::string(32, '\0')));
}

// Written by Go's crypto/sha256 and crypto/sha512 after "hello world" and after pattern(300).
struct GoState {
  Algorithm algorithm;
  std::string input;
  std::string state;
};
const GoState kGoStates[] = {
    {Algorithm::sha256, "hello world",
     unhex("736861036a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
           "68656c6c6f20776f726c64") +
         std::string(64 - 11, '\0') + unhex("000000000000000b")},
    {Algorithm::sha256, pattern(300),
     unhex("73686103edba51c8d14f2c6e3092980350ce3ed0c02704517ebc882b7a17accc2ed273ad") +
         pattern(300).substr(256) + std::string(64 - 44, '\0') + unhex("000000000000012c")},
    {Algorithm::sha512, "hello world",
     unhex("736861076a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
           "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179"
           "68656c6c6f20776f726c64") +
         std::string(128 - 11, '\0') + unhex("000000000000000b")},
    {Algorithm::sha512, pattern(300),
     unhex("736861077e4ce3d3d53a3206feb18766c4ab677609451adf795332c70c542a88e3ff5f8b"
           "6b6d69aaf70a87cd8a2449d5b9029df77e4bb6add00317b76aca8aa8179ae8ae") +
         pattern(300).substr(256) + std::string(128 - 44, '\0') + unhex("000000000000012c")},
};

TEST(Hasher, SavesAsGoDoes) {
  for (const GoState& go : kGoStates) {
    Hasher hasher(go.algorithm);
    hasher.update(go.input);
    EXPECT_EQ(hasher.save(), go.state);
    EXPECT_EQ(hasher.length(), go.input.size());
  }
}

TEST(Hasher, TakesUpWhatGoSaved) {
  for (const GoState& go : kGoStates) {
    auto hasher = Hasher::restore(go.algorithm, go.state);
    ASSERT_TRUE(hasher);
    EXPECT_EQ(hasher->length(), go.input.size());
    EXPECT_EQ(hasher->digest(), Digest::of(go.algorithm, go.input));
    hasher->update(" and more");
    EXPECT_EQ(hasher->digest(), Digest::of(go.algorithm, go.input + " and more"));
  }
}

TEST(Hasher, SaveAndRestoreAtEveryOffset) {
  const std::string input = pattern(400);
  for (const Algorithm algorithm : kAlgorithms) {
    const Digest whole = Digest::of(algorithm, input);
    for (size_t offset = 0; offset <= 300; ++offset) {
      Hasher before(algorithm);
      before.update(std::string_view(input).substr(0, offset));
      const std::string state = before.save();
      EXPECT_EQ(before.save(), state) << "saving changes nothing";
      auto after = Hasher::restore(algorithm, state);
      ASSERT_TRUE(after) << offset;
      EXPECT_EQ(after->length(), offset);
      EXPECT_EQ(after->save(), state);
      after->update(std::string_view(input).substr(offset));
      EXPECT_EQ(after->digest(), whole) << offset;
      before.update(std::string_view(input).substr(offset));
      EXPECT_EQ(before.digest(), whole) << offset;
    }
  }
}

TEST(Hasher, LengthsBeyond32Bits) {
  for (const GoState& go : kGoStates) {
    for (const uint64_t length : {uint64_t{1} << 29, uint64_t{1} << 32, (uint64_t{5} << 32) + 64,
                                  (uint64_t{1} << 61) - 128}) {
      // A state at a whole number of blocks: nothing waits in the buffer.
      const size_t block = go.algorithm == Algorithm::sha256 ? 64 : 128;
      const uint64_t aligned = length / block * block;
      std::string state =
          go.state.substr(0, go.state.size() - block - 8) + std::string(block, '\0');
      for (int shift = 56; shift >= 0; shift -= 8) {
        state.push_back(static_cast<char>(static_cast<uint8_t>(aligned >> shift)));
      }
      auto hasher = Hasher::restore(go.algorithm, state);
      ASSERT_TRUE(hasher);
      EXPECT_EQ(hasher->length(), aligned);
      EXPECT_EQ(hasher->save(), state);
      hasher->update("12345");
      EXPECT_EQ(hasher->length(), aligned + 5);
    }
  }
}

TEST(Hasher, RestoreRefusesMalformedStates) {
  for (const GoState& go : kGoStates) {
    const auto refused = [&](const std::string& state) {
      return !Hasher::restore(go.algorithm, state).has_value();
    };
    EXPECT_TRUE(refused(""));
    EXPECT_TRUE(refused(go.state + '\0'));
    for (size_t size = 0; size < go.state.size(); ++size) {
      EXPECT_TRUE(refused(go.state.substr(0, size))) << size;
    }
    for (size_t at = 0; at < 4; ++at) {
      std::string state = go.state;
      state[at] ^= 1;
      EXPECT_TRUE(refused(state)) << "magic, byte " << at;
    }
    std::string state = go.state;
    state[state.size() - 9] = 'x';
    EXPECT_TRUE(refused(state)) << "bytes after the waiting ones";
    state = go.state;
    state[state.size() - 8] = '\x20';
    EXPECT_TRUE(refused(state)) << "2^61 bytes";
    const Algorithm other =
        go.algorithm == Algorithm::sha256 ? Algorithm::sha512 : Algorithm::sha256;
    EXPECT_FALSE(Hasher::restore(other, go.state));
    EXPECT_TRUE(refused(std::string(go.state.size(), '\0')));
  }
}

TEST(Hasher, CopiesGoTheirOwnWays) {
  for (const Algorithm algorithm : kAlgorithms) {
    Hasher one(algorithm);
    one.update("a");
    Hasher two = one;
    one.update("b");
    two.update("c");
    EXPECT_EQ(one.digest(), Digest::of(algorithm, "ab"));
    EXPECT_EQ(two.digest(), Digest::of(algorithm, "ac"));
    two = one;
    two.update("d");
    EXPECT_EQ(two.digest(), Digest::of(algorithm, "abd"));
    Hasher moved = std::move(one);
    moved.update("e");
    EXPECT_EQ(moved.digest(), Digest::of(algorithm, "abe"));
    moved.update(std::string_view());
    EXPECT_EQ(moved.length(), 3U);
  }
}

}  // namespace
}  // namespace oci

#include "base/base64.h"

#include <gtest/gtest.h>

namespace base {
namespace {

// RFC 4648 §10.
TEST(Base64, TestVectors) {
  const std::pair<std::string, std::string> vectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [bytes, padded] : vectors) {
    const std::string bare = padded.substr(0, padded.find('='));
    EXPECT_EQ(encode_base64(bytes, Base64::standard), padded);
    EXPECT_EQ(encode_base64(bytes, Base64::url_padded), padded);
    EXPECT_EQ(encode_base64(bytes, Base64::url), bare);
    EXPECT_EQ(decode_base64(padded, Base64::standard), bytes);
    EXPECT_EQ(decode_base64(padded, Base64::url_padded), bytes);
    EXPECT_EQ(decode_base64(bare, Base64::url), bytes);
  }
  EXPECT_EQ(encode_base64("\xfb\xff", Base64::standard), "+/8=");
  EXPECT_EQ(encode_base64("\xfb\xff", Base64::url), "-_8");
}

TEST(Base64, OnlyWhatEncodingGivesIsRead) {
  for (const std::string bad : {"Zg", "Zg=", "Zg===", "Zh==", "Z===", "=", "Zg==Zg==", "Zm9v ",
                                "Zm8=\n", "-_8=", "Zm9v===="}) {
    EXPECT_FALSE(decode_base64(bad, Base64::standard)) << bad;
  }
  for (const std::string bad : {"Z", "Zg==", "Zh", "+/8", "Zm9vY", "Zm 9", "Zg."}) {
    EXPECT_FALSE(decode_base64(bad, Base64::url)) << bad;
  }
}

}  // namespace
}  // namespace base

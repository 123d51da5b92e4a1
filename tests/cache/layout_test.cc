#include "cache/layout.h"

#include <gtest/gtest.h>

#include <string>

namespace cache {
namespace {

const Layout kLayout("/c");
const std::string kHex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Layout, NamesEveryFile) {
  const oci::Digest digest = oci::Digest::of(oci::Algorithm::sha256, "");
  EXPECT_EQ(kLayout.blob(digest), "/c/blobs/sha256/e3/" + kHex);
  EXPECT_EQ(kLayout.partial(digest), "/c/incoming/sha256-" + kHex);
  EXPECT_EQ(kLayout.partial_map(digest), "/c/incoming/sha256-" + kHex + ".map");
  EXPECT_EQ(kLayout.new_partial_map(digest), "/c/incoming/sha256-" + kHex + ".map.new");
  EXPECT_EQ(kLayout.index(), "/c/index");
  EXPECT_EQ(kLayout.lock(), "/c/lock");
}

TEST(Layout, ReadsItsOwnNamesBack) {
  for (const auto algorithm : {oci::Algorithm::sha256, oci::Algorithm::sha512}) {
    const oci::Digest digest = oci::Digest::of(algorithm, "x");
    EXPECT_EQ(kLayout.digest_of_blob(kLayout.blob(digest)), digest);
    EXPECT_EQ(Layout::digest_of_partial(kLayout.partial(digest)), digest);
    EXPECT_EQ(Layout::digest_of_partial(kLayout.partial_map(digest)), digest);
  }
}

TEST(Layout, RefusesOtherNames) {
  EXPECT_FALSE(Layout::digest_of_partial("sha256-" + kHex + ".map.new"));
  EXPECT_FALSE(Layout::digest_of_partial("sha256-" + kHex + ".tmp"));
  EXPECT_FALSE(Layout::digest_of_partial("sha256-" + kHex.substr(1)));
  EXPECT_FALSE(Layout::digest_of_partial("md5-" + kHex));
  EXPECT_FALSE(Layout::digest_of_partial(kHex));
  EXPECT_FALSE(kLayout.digest_of_blob("/c/blobs/sha256/ff/" + kHex));  // the wrong directory
  EXPECT_FALSE(kLayout.digest_of_blob("/c/blobs/sha512/e3/" + kHex));
  EXPECT_FALSE(kLayout.digest_of_blob("/c/blobs/sha256/e3/" + kHex + "~"));
}

}  // namespace
}  // namespace cache

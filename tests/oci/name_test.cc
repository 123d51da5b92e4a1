#include "oci/name.h"

#include <gtest/gtest.h>

#include <regex>

namespace oci {
namespace {

using namespace std::string_literals;

const std::string kSha256 =
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

// Calls `f` with every string over `alphabet` of up to `longest` characters.
template <typename F>
void every_string(std::string_view alphabet, size_t longest, F f) {
  std::vector<std::string> level = {""};
  for (size_t length = 0; length <= longest; ++length) {
    std::vector<std::string> next;
    for (const std::string& text : level) {
      f(text);
      for (const char c : alphabet) next.push_back(text + c);
    }
    level = std::move(next);
  }
}

TEST(Repository, AgreesWithTheSpecificationsPattern) {
  const std::regex pattern(
      "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*",
      std::regex::optimize);
  every_string("a0._-/A", 5, [&](const std::string& text) {
    ASSERT_EQ(valid_repository(text), std::regex_match(text, pattern)) << text;
  });
}

TEST(Repository, Valid) {
  for (const std::string& name : {
           "a"s,
           "0"s,
           "fedora"s,
           "fedora/rawhide/a/b/c"s,
           "a.b_c__d-e--f---g"s,
           "0a/9z"s,
           "library/blobs"s,
           "blobs/uploads"s,
           "manifests"s,
           "v2"s,
           "a/" + std::string(253, 'b'),
           std::string(255, 'a'),
       }) {
    EXPECT_TRUE(valid_repository(name)) << name;
  }
}

TEST(Repository, Invalid) {
  for (const std::string& name : {
           ""s,
           "/"s,
           "."s,
           ".."s,
           "a/.."s,
           "../a"s,
           "a/../b"s,
           "a/./b"s,
           "a//b"s,
           "/a"s,
           "a/"s,
           "A"s,
           "Fedora"s,
           "fedorA"s,
           "_a"s,
           "a_"s,
           "_layers"s,
           "a/_layers/b"s,
           "a___b"s,
           "a..b"s,
           "a._b"s,
           "a-_b"s,
           "a-.b"s,
           "-a"s,
           "a-"s,
           "a%2fb"s,
           "a b"s,
           "a\\b"s,
           "a:b"s,
           "a@b"s,
           "registry.example:5000/a"s,
           "a\0b"s,
           "a\n"s,
           "caf\xc3\xa9"s,
           "a\x80"s,
           std::string(256, 'a'),
           "a/" + std::string(254, 'b'),
       }) {
    EXPECT_FALSE(valid_repository(name)) << name;
  }
}

TEST(Tag, AgreesWithTheSpecificationsPattern) {
  const std::regex pattern("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", std::regex::optimize);
  every_string("aZ0._-/:", 4, [&](const std::string& text) {
    ASSERT_EQ(valid_tag(text), std::regex_match(text, pattern)) << text;
  });
  for (int c = 0; c < 256; ++c) {
    const std::string one(1, static_cast<char>(c));
    EXPECT_EQ(valid_tag(one), std::regex_match(one, pattern)) << c;
    EXPECT_EQ(valid_tag("a" + one), std::regex_match("a" + one, pattern)) << c;
  }
  EXPECT_TRUE(valid_tag(std::string(128, 'x')));
  EXPECT_FALSE(valid_tag(std::string(129, 'x')));
}

TEST(Reference, TagOrDigest) {
  for (const std::string& text : {"latest"s, "_1.0-rc.1"s, "sha256-abc.sig"s, "uploads"s}) {
    const auto reference = parse_reference(text);
    ASSERT_TRUE(reference) << text;
    EXPECT_EQ(std::get<std::string>(*reference), text);
    EXPECT_EQ(to_string(*reference), text);
  }
  const auto reference = parse_reference(kSha256);
  ASSERT_TRUE(reference);
  EXPECT_EQ(std::get<Digest>(*reference), Digest::parse(kSha256));
  EXPECT_EQ(to_string(*reference), kSha256);
  for (const std::string& text : {""s, "."s, ".."s, "-a"s, "a/b"s, "a:b"s, "sha256:"s, ":"s,
                                  "sha256:baddigeststring"s, kSha256 + "0", "latest:" + kSha256}) {
    EXPECT_FALSE(parse_reference(text)) << text;
  }
}

// A route in short: its kind and what it carries.
std::string describe(const Route& route) {
  struct Describe {
    std::string operator()(const NoRoute&) const { return "none"; }
    std::string operator()(const InvalidNameRoute& r) const { return "invalid " + r.repository; }
    std::string operator()(const BaseRoute&) const { return "base"; }
    std::string operator()(const CatalogRoute&) const { return "catalog"; }
    std::string operator()(const TagsRoute& r) const { return "tags " + r.repository; }
    std::string operator()(const ManifestRoute& r) const {
      return "manifest " + r.repository + " " + r.reference;
    }
    std::string operator()(const BlobRoute& r) const {
      return "blob " + r.repository + " " + r.digest;
    }
    std::string operator()(const UploadsRoute& r) const { return "uploads " + r.repository; }
    std::string operator()(const UploadRoute& r) const {
      return "upload " + r.repository + " " + r.id;
    }
    std::string operator()(const ReferrersRoute& r) const {
      return "referrers " + r.repository + " " + r.digest;
    }
  };
  return std::visit(Describe{}, route);
}

TEST(Route, EveryKind) {
  const std::string uuid = "6b3c9a93-af5d-473f-a4ff-9710022185cd";
  const std::string long_name(255, 'a');
  const std::pair<std::string, std::string> table[] = {
      {"/v2/", "base"},
      {"/v2", "base"},
      {"/v2/_catalog", "catalog"},
      {"/v2/a/tags/list", "tags a"},
      {"/v2/a/b/c/tags/list", "tags a/b/c"},
      {"/v2/a/manifests/latest", "manifest a latest"},
      {"/v2/a/b/manifests/" + kSha256, "manifest a/b " + kSha256},
      {"/v2/a/blobs/" + kSha256, "blob a " + kSha256},
      {"/v2/a/b/c/d/blobs/" + kSha256, "blob a/b/c/d " + kSha256},
      {"/v2/a/blobs/uploads/", "uploads a"},
      {"/v2/a/blobs/uploads", "uploads a"},
      {"/v2/a/blobs/uploads/" + uuid, "upload a " + uuid},
      {"/v2/a/blobs/uploads/A-Za_z0.9=", "upload a A-Za_z0.9="},
      {"/v2/a/referrers/" + kSha256, "referrers a " + kSha256},
      {"/v2/" + long_name + "/tags/list", "tags " + long_name},
      // Malformed digests and references are for the handler to refuse.
      {"/v2/a/blobs/sha256:x", "blob a sha256:x"},
      {"/v2/a/blobs/..", "blob a .."},
      {"/v2/a/manifests/sha256:baddigeststring", "manifest a sha256:baddigeststring"},
      {"/v2/a/manifests/..", "manifest a .."},
      {"/v2/a/manifests/%2e%2e", "manifest a %2e%2e"},
      {"/v2/a/referrers/x", "referrers a x"},
  };
  for (const auto& [path, expected] : table) EXPECT_EQ(describe(parse_route(path)), expected);
}

TEST(Route, RepositoriesNamedAfterRoutes) {
  const std::pair<std::string, std::string> table[] = {
      {"/v2/blobs/manifests/latest", "manifest blobs latest"},
      {"/v2/manifests/manifests/manifests", "manifest manifests manifests"},
      {"/v2/blobs/uploads/manifests/latest", "manifest blobs/uploads latest"},
      {"/v2/blobs/uploads/blobs/uploads/", "uploads blobs/uploads"},
      {"/v2/blobs/uploads/blobs/uploads/x", "upload blobs/uploads x"},
      {"/v2/a/blobs/uploads/blobs/x", "blob a/blobs/uploads x"},
      {"/v2/a/blobs/uploads/blobs/uploads", "uploads a/blobs/uploads"},
      {"/v2/a/blobs/uploads/tags/list", "tags a/blobs/uploads"},
      {"/v2/a/blobs/uploads/referrers/x", "referrers a/blobs/uploads x"},
      {"/v2/a/manifests/tags/list", "tags a/manifests"},
      {"/v2/a/tags/list/manifests/v1", "manifest a/tags/list v1"},
      {"/v2/tags/tags/list", "tags tags"},
      {"/v2/uploads/blobs/uploads/uploads", "upload uploads uploads"},
      {"/v2/uploads/manifests/uploads", "manifest uploads uploads"},
      {"/v2/a/manifests/blobs/x", "blob a/manifests x"},
      {"/v2/v2/manifests/latest", "manifest v2 latest"},
      {"/v2/a/blobs/manifests", "blob a manifests"},
      {"/v2/a/referrers/manifests/x", "manifest a/referrers x"},
  };
  for (const auto& [path, expected] : table) EXPECT_EQ(describe(parse_route(path)), expected);
}

TEST(Route, InvalidNames) {
  const std::string too_long(256, 'a');
  const std::pair<std::string, std::string> table[] = {
      {"/v2//manifests/latest", "invalid "},
      {"/v2//tags/list", "invalid "},
      {"/v2//blobs/uploads/", "invalid "},
      {"/v2//blobs/uploads/x", "invalid "},
      {"/v2/A/manifests/latest", "invalid A"},
      {"/v2/a//b/manifests/latest", "invalid a//b"},
      {"/v2//a/manifests/latest", "invalid /a"},
      {"/v2/a//manifests/latest", "invalid a/"},
      {"/v2/../manifests/latest", "invalid .."},
      {"/v2/a/../../etc/manifests/latest", "invalid a/../../etc"},
      {"/v2/a/./blobs/" + kSha256, "invalid a/."},
      {"/v2/_catalog/tags/list", "invalid _catalog"},
      {"/v2/a/_manifests/blobs/" + kSha256, "invalid a/_manifests"},
      {"/v2/a%2fb/manifests/latest", "invalid a%2fb"},
      {"/v2/a\0b/tags/list"s, "invalid a\0b"s},
      {"/v2/a b/referrers/" + kSha256, "invalid a b"},
      {"/v2/-/blobs/uploads/", "invalid -"},
      {"/v2/-/blobs/uploads", "invalid -"},
      {"/v2/a-/blobs/uploads/x", "invalid a-"},
      {"/v2/" + too_long + "/tags/list", "invalid " + too_long},
  };
  for (const auto& [path, expected] : table) EXPECT_EQ(describe(parse_route(path)), expected);
}

TEST(Route, NoRoute) {
  for (const std::string& path : {
           ""s,
           "/"s,
           "/v"s,
           "/v1/"s,
           "/V2/"s,
           "/v2x"s,
           "/v22/"s,
           "v2/"s,
           "v2/a/tags/list"s,
           "//v2/"s,
           "//v2/a/tags/list"s,
           "/v2//"s,
           "/v2/a"s,
           "/v2/a/"s,
           "/v2/../v2/_catalog"s,
           "/v2/_catalog/"s,
           "/v2/_Catalog"s,
           "/v2/a/_catalog"s,
           "/v2/_oci/ext/discover"s,
           "/v2/tags/list"s,
           "/v2/a/tags"s,
           "/v2/a/tags/"s,
           "/v2/a/tags/list/"s,
           "/v2/a/tags/List"s,
           "/v2/a/tags/latest"s,
           "/v2/manifests/latest"s,
           "/v2/a/manifests"s,
           "/v2/a/manifests/"s,
           "/v2/a/manifests/latest/"s,
           "/v2/a/Manifests/latest"s,
           "/v2/a/manifests/x/y"s,
           "/v2/blobs/" + kSha256,
           "/v2/a/blobs/"s,
           "/v2/a/blobs/" + kSha256 + "/",
           "/v2/a/blobs//" + kSha256,
           "/v2/blobs/uploads"s,
           "/v2/blobs/uploads/"s,
           "/v2/blobs/uploads/x"s,
           "/v2/a/uploads/x"s,
           "/v2/a/uploads/"s,
           "/v2/a/blobs/uploads//"s,
           "/v2/a/blobs/uploads/x/"s,
           "/v2/a/blobs/uploads/x/y"s,
           "/v2/a/blobs/uploads/."s,
           "/v2/a/blobs/uploads/.."s,
           "/v2/a/blobs/uploads/x%2f"s,
           "/v2/a/blobs/uploads/x y"s,
           "/v2/a/blobs/uploads/x:y"s,
           "/v2/a/blobs/uploads/\0"s,
           "/v2/a/blobs/uploads/" + std::string(129, 'x'),
           "/v2/a/uploads/uploads/x"s,
           "/v2/referrers/" + kSha256,
           "/v2/a/referrers"s,
           "/v2/a/referrers/"s,
       }) {
    EXPECT_EQ(describe(parse_route(path)), "none") << path;
  }
}

}  // namespace
}  // namespace oci

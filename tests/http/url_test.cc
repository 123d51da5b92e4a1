#include "http/url.h"

#include <gtest/gtest.h>

namespace http {
namespace {

std::string origin(std::string_view text) {
  const auto url = parse_url(text);
  return url ? url->origin() : "none";
}

TEST(Url, IsTakenApart) {
  EXPECT_EQ(origin("https://Registry.Example/v2/"), "https://registry.example:443");
  EXPECT_EQ(origin("http://registry.example."), "http://registry.example:80");
  EXPECT_EQ(origin("http://[::1]:5000/x"), "http://[::1]:5000");
  EXPECT_EQ(parse_url("http://a.example/../x?y=/z#part")->text, "http://a.example/../x?y=/z");
}

TEST(Url, AddressesInEveryForm) {
  EXPECT_EQ(origin("http://2130706433/"), "http://127.0.0.1:80");
  EXPECT_EQ(origin("http://0x7f.1/"), "http://127.0.0.1:80");
  EXPECT_TRUE(parse_url("http://0177.0.0.1")->is_address());
  EXPECT_EQ(parse_url("http://[::ffff:127.0.0.1]/")->address(), "::ffff:127.0.0.1");
  EXPECT_FALSE(parse_url("http://localhost/")->is_address());
}

TEST(Url, OthersAreRefused) {
  for (const char* bad : {"", "ftp://a.example/", "file:///etc/passwd", "//a.example/", "a.example",
                          "https://user@a.example/", "https://user:pass@a.example/", "https://",
                          "https://a.example:99999/", "https://a b.example/"}) {
    EXPECT_EQ(origin(bad), "none") << bad;
  }
}

TEST(Url, LocationsAreResolved) {
  const Url base = *parse_url("https://a.example/v2/x/blobs/y?z=1");
  EXPECT_EQ(resolve_url(base, "/data")->text, "https://a.example/data");
  EXPECT_EQ(resolve_url(base, "data?q=1")->text, "https://a.example/v2/x/blobs/data?q=1");
  EXPECT_EQ(resolve_url(base, "//b.example/c")->text, "https://b.example/c");
  EXPECT_EQ(resolve_url(base, "http://c.example:81/")->origin(), "http://c.example:81");
  EXPECT_FALSE(resolve_url(base, "gopher://c.example/"));
  EXPECT_FALSE(resolve_url(base, "https://user@c.example/"));
}

}  // namespace
}  // namespace http

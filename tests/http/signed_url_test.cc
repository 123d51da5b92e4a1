#include "http/signed_url.h"

#include <gtest/gtest.h>

#include "http/request_target.h"

namespace http {
namespace {

using enum SignatureVerdict;

constexpr int64_t kIssued = 1'764'080'000;
constexpr int64_t kExpires = kIssued + 1200;
const SigningKey kNew{"2026-11", "0123456789abcdef0123456789abcdef"};
const SigningKey kOld{"2026-10", "fedcba9876543210fedcba9876543210"};
const std::vector<SigningKey> kKeys = {kNew, kOld};
constexpr std::string_view kPath = "/v2/team/app/blobs/sha256:aa";

Request request_for(const std::string& target) {
  Request request;
  request.method = "GET";
  set_target(target, request);
  return request;
}

SignatureVerdict verdict(const std::string& target, const std::string& client = "192.0.2.7",
                         int64_t now = kIssued) {
  return verify_signature(kKeys, request_for(target), client, now);
}

std::string path_and(const std::string& query) { return std::string(kPath) + '?' + query; }

std::string signed_url(const SigningKey& key = kNew,
                       const std::optional<Network>& network = std::nullopt) {
  return path_and(sign_path(key, kPath, kExpires, network));
}

// What a verifier of another make must come to.
TEST(SignedUrl, TheFormatStays) {
  EXPECT_EQ(signed_url(kNew, Network::parse("192.0.2.0/24")),
            "/v2/team/app/blobs/sha256:aa?entrepot-signature=2026-11~1764081200~192.0.2.0/24~"
            "u3m75Uu65bWCsuztTvCmA7Ymrc3z6zNkgoY1PhacpZM");
}

TEST(SignedUrl, AnyOfTheKeysIsGoodUntilItIsGone) {
  for (const SigningKey& key : kKeys) EXPECT_EQ(verdict(signed_url(key)), good) << key.id;
  const std::vector<SigningKey> one = {kNew};
  EXPECT_EQ(verify_signature(one, request_for(signed_url(kOld)), "192.0.2.7", kIssued),
            unknown_key);
  EXPECT_EQ(verify_signature({}, request_for(signed_url(kNew)), "192.0.2.7", kIssued), unknown_key);
}

TEST(SignedUrl, TheSecretDecidesAndNotTheIdAlone) {
  EXPECT_EQ(verdict(signed_url({kNew.id, kOld.secret})), wrong);
  EXPECT_EQ(verdict(signed_url({kOld.id, kNew.secret})), wrong);
}

TEST(SignedUrl, ItEndsAtItsSecond) {
  EXPECT_EQ(verdict(signed_url(), "192.0.2.7", kExpires - 1), good);
  EXPECT_EQ(verdict(signed_url(), "192.0.2.7", kExpires), expired);
}

TEST(SignedUrl, AnotherPathIsWrong) {
  const std::string query = sign_path(kNew, kPath, kExpires, std::nullopt);
  for (const std::string path : {"/v2/team/app/blobs/sha256:ab", "/v2/team/apq/blobs/sha256:aa",
                                 "/v2/app/blobs/sha256:aa", "/v2/team/app/blobs/sha256:aa/", "/"}) {
    EXPECT_EQ(verdict(path + '?' + query), wrong) << path;
  }
}

TEST(SignedUrl, EveryByteOfItCounts) {
  const std::string url = signed_url(kNew, Network::parse("192.0.2.0/24"));
  for (size_t i = url.find('=') + 1; i < url.size(); ++i) {
    for (const char other : {'0', '1', 'A', '~', '/', '-', '.'}) {
      std::string changed = url;
      changed[i] = other;
      if (other != url[i]) EXPECT_NE(verdict(changed), good) << changed;
    }
    EXPECT_NE(verdict(url.substr(0, i)), good) << url.substr(0, i);
  }
  for (const char more : {'0', 'A', '=', '~'}) EXPECT_EQ(verdict(url + more), malformed) << more;
}

TEST(SignedUrl, ItIsForItsClientsNetwork) {
  const std::string v4 = signed_url(kNew, Network::around("192.0.2.7", 24, 64));
  EXPECT_EQ(verdict(v4, "192.0.2.200"), good);
  EXPECT_EQ(verdict(v4, "::ffff:192.0.2.200"), good);
  EXPECT_EQ(verdict(v4, "192.0.3.7"), other_client);
  EXPECT_EQ(verdict(v4, "2001:db8::1"), other_client);
  EXPECT_EQ(verdict(v4, "unix"), other_client);
  const std::string v6 = signed_url(kNew, Network::around("2001:db8:0:1::7", 24, 64));
  EXPECT_EQ(verdict(v6, "2001:db8:0:1:ffff::1"), good);
  EXPECT_EQ(verdict(v6, "2001:db8:0:2::7"), other_client);
  // Nobody makes it wider, or another's.
  for (const std::string network : {"0.0.0.0/0", "192.0.2.0/23", "192.0.3.0/24", "-"}) {
    std::string changed = v4;
    changed.replace(changed.find("192.0.2.0/24"), 12, network);
    EXPECT_EQ(verdict(changed, "192.0.3.7"), wrong) << network;
  }
}

TEST(SignedUrl, WhereItStandsAndWhatIsBesideItDoesNotMatter) {
  const std::string parameter = sign_path(kNew, kPath, kExpires, std::nullopt);
  for (const std::string& query :
       {"ns=example&" + parameter, parameter + "&ns=example", "&&" + parameter + "&x&=y"}) {
    EXPECT_EQ(verdict(path_and(query)), good) << query;
  }
}

TEST(SignedUrl, MissingAndDoubledAndMalformed) {
  const std::string parameter = sign_path(kNew, kPath, kExpires, std::nullopt);
  const std::string value = parameter.substr(parameter.find('=') + 1);
  EXPECT_EQ(verdict(std::string(kPath)), missing);
  EXPECT_EQ(verdict(path_and("")), missing);
  EXPECT_EQ(verdict(path_and("Entrepot-Signature=" + value)), missing);
  EXPECT_EQ(verdict(path_and("x;" + parameter)), missing);
  EXPECT_EQ(verdict(path_and("entrepot-signature")), malformed);
  EXPECT_EQ(verdict(path_and("entrepot-signature=")), malformed);
  EXPECT_EQ(verdict(path_and(parameter + '&' + parameter)), malformed);
  EXPECT_EQ(verdict(path_and(parameter + "&entrepot-signature=")), malformed);
  EXPECT_EQ(verdict(path_and("entrepot%2Dsignature=x&" + parameter)), malformed);
  const std::string mac = value.substr(value.rfind('~'));
  for (const std::string& bad :
       {"~1764081200~-" + mac, "2026-11~~-" + mac, "2026-11~-1764081200~-" + mac,
        "2026-11~+1764081200~-" + mac, "2026-11~17640812009999999999~-" + mac,
        "2026-11~1764081200~" + mac, "2026-11~1764081200~10.0.0.1/8" + mac,
        "2026-11~1764081200~10.0.0.0%00%0A/8" + mac, "a%0Ab~1764081200~-" + mac,
        std::string("2026-11~1764081200~-~"), std::string("2026-11~1764081200~-"),
        "2026-11~1764081200~-~" + mac}) {
    EXPECT_EQ(verdict(path_and("entrepot-signature=" + bad)), malformed) << bad;
  }
}

TEST(SignedUrl, EscapesMeanWhatTheyStandFor) {
  const std::string parameter = sign_path(kNew, kPath, kExpires, std::nullopt);
  std::string escaped = parameter;
  while (escaped.contains('~')) escaped.replace(escaped.find('~'), 1, "%7E");
  EXPECT_EQ(verdict(path_and(escaped)), good);
  EXPECT_EQ(verdict(path_and("entrepot%2dsignature" + parameter.substr(parameter.find('=')))),
            good);
  EXPECT_EQ(verdict("/v2/team/%61pp/blobs/sha256%3Aaa?" + parameter), good);
  EXPECT_EQ(verdict("/v2/team%2Fapp/blobs/sha256:aa?" + parameter), wrong);
  EXPECT_EQ(verdict("/v2/team/app/blobs/sha256:aa%00?" + parameter), wrong);
}

// A path with line feeds in it is no other permission.
TEST(SignedUrl, FieldsAndPathCannotBeExchanged) {
  const std::string one = sign_path(kNew, "/a", kExpires, std::nullopt);
  const std::string mac = one.substr(one.rfind('~'));
  EXPECT_EQ(verdict("/%0A/a?entrepot-signature=2026-11~1764081200~-" + mac), wrong);
  EXPECT_EQ(verdict("/a?entrepot-signature=2026-11~1764081200%0A-~-" + mac), malformed);
}

TEST(SignedUrl, NoLogTellsIt) {
  const std::string parameter = sign_path(kNew, "/a", kExpires, std::nullopt);
  const std::string value = parameter.substr(parameter.find('=') + 1);
  EXPECT_EQ(hide_signature("/a?x=y&" + parameter + "&z"), "/a?x=y&entrepot-signature=***&z");
  EXPECT_EQ(hide_signature("https://cdn.example/a?" + parameter),
            "https://cdn.example/a?entrepot-signature=***");
  for (const std::string name :
       {"?entrepot-signature=", "?entrepot%2Dsignature=", "?%65ntrepot-signatur%65=",
        "%3Fentrepot-signature=", "?x;entrepot-signature=", "?entrepot-signature%3D"}) {
    EXPECT_FALSE(hide_signature("/a" + name + value).contains(value)) << name;
    EXPECT_FALSE(hide_signature("/a" + name + "x&" + parameter).contains(value)) << name;
  }
  for (const std::string other :
       {"/v2/", "/a?b=%", "/entrepot?signature=x", "/a%65?entrepot-sig"}) {
    EXPECT_EQ(hide_signature(other), other);
  }
}

TEST(SignedUrl, KeyIds) {
  EXPECT_TRUE(valid_key_id("2026-11_a.b"));
  EXPECT_TRUE(valid_key_id(std::string(64, 'a')));
  for (const std::string& bad :
       {std::string(), std::string(65, 'a'), std::string("a b"), std::string("a~b"),
        std::string("a\nb"), std::string("\xc3\xa9")}) {
    EXPECT_FALSE(valid_key_id(bad)) << bad;
  }
}

}  // namespace
}  // namespace http

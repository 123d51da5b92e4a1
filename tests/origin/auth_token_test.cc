// Bearer tokens: every way to sign a good one, every way to make a bad one, and what clients see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <fstream>

#include "base/base64.h"
#include "origin/auth/token.h"
#include "tests/origin/auth_fixture.h"
#include "tests/origin/token_signer.h"

namespace origin {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int64_t now() { return std::time(nullptr); }

// Good claims, of which single members can be replaced.
std::string claims(const std::string& access = "[]", const std::string& exp = "",
                   const std::string& more = "") {
  return R"({"iss":"issuer","sub":"ann","aud":"service","exp":)" +
         (exp.empty() ? std::to_string(now() + 600) : exp) + R"(,"access":)" + access + more + "}";
}

// For tests of one key each.
std::string hs256(const std::string& key, const std::string& header, const std::string& payload) {
  const std::string text = base64url(header) + "." + base64url(payload);
  std::string mac(32, '\0');
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(mac.data()), &size);
  return text + "." + base64url(mac);
}

class TokenTest : public AuthTest {
 protected:
  // Trusts the key as a certificate and in a key set.
  std::string sections(const TokenSigner& signer, const std::string& more = "") const {
    return "auth: {token: {realm: 'https://auth.example/token', service: service, issuer: issuer, "
           "rootcertbundle: " +
           file("root.pem", signer.pem()) + ", jwks: " +
           file("keys.json", R"({"keys":[)" + signer.jwk("\"kid\":\"" + signer.kid + "\"") + "]}") +
           more + "}}\n";
  }
  auth::TokenConfig token_config(const TokenSigner& signer) const {
    return *with(sections(signer)).auth.token;
  }
  static std::string problem(const auth::TokenConfig& config, const std::string& token) {
    const auto verified = auth::verify_token(config, token, std::chrono::system_clock::now());
    return verified ? "" : verified.error();
  }
  const TokenSigner ec_{"P-256"};
};

TEST_F(TokenTest, EveryAlgorithm) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> kinds = {
      {"RSA", {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}},
      {"P-256", {"ES256"}},
      {"P-384", {"ES384"}},
      {"P-521", {"ES512"}},
      {"Ed25519", {"EdDSA"}}};
  for (const auto& [kind, algorithms] : kinds) {
    const TokenSigner signer(kind);
    const TokenSigner stranger(kind);
    const auto config = token_config(signer);
    for (const std::string& algorithm : algorithms) {
      EXPECT_EQ(problem(config, signer.token(algorithm, claims())), "") << algorithm;
      EXPECT_EQ(problem(config, stranger.token(algorithm, claims())), "its signature is wrong");
      // The same signature under the name of every other algorithm.
      for (const std::string& other : auth::signing_algorithms()) {
        if (other == algorithm) continue;
        const std::string header = R"({"alg":")" + other + R"(","kid":"test-key"})";
        EXPECT_EQ(problem(config, signer.token(algorithm, header, claims())),
                  "its signature is wrong")
            << algorithm << " as " << other;
      }
    }
  }
}

TEST_F(TokenTest, EveryWayToNameTheKey) {
  const auto config = token_config(ec_);
  const auto verified_by = [&](const std::string& header_member) {
    return problem(config,
                   ec_.token("ES256", R"({"alg":"ES256",)" + header_member + "}", claims()));
  };
  const auto key =
      auth::PublicKey::from_jwk((*auth::parse_jwk_set(R"({"keys":[)" + ec_.jwk() + "]}"))[0]);
  ASSERT_TRUE(key);
  EXPECT_EQ(verified_by(R"("kid":"test-key")"), "");
  EXPECT_EQ(verified_by(R"("kid":")" + key->thumbprint() + '"'), "");
  EXPECT_EQ(verified_by(R"("kid":")" + key->libtrust_id() + '"'), "");
  EXPECT_EQ(verified_by(R"("jwk":)" + ec_.jwk()), "");
  EXPECT_EQ(verified_by(R"("jwk":)" + ec_.jwk(R"("x5c":[")" + ec_.x5c() + "\"]")), "");
  EXPECT_EQ(verified_by(R"("x5c":[")" + ec_.x5c() + "\"]"), "");

  const std::string untrusted = "its key is not trusted";
  EXPECT_EQ(verified_by(R"("kid":"other")"), untrusted);
  EXPECT_EQ(verified_by(R"("typ":"JWT")"), untrusted);
  const TokenSigner stranger("P-256");
  const auto of_stranger = [&](const std::string& member) {
    return problem(config, stranger.token("ES256", R"({"alg":"ES256",)" + member + "}", claims()));
  };
  EXPECT_EQ(of_stranger(R"("jwk":)" + stranger.jwk()), untrusted);
  EXPECT_EQ(of_stranger(R"("x5c":[")" + stranger.x5c() + "\"]"), untrusted);
  EXPECT_EQ(of_stranger(R"("x5c":["AAAA"])"), untrusted);
  EXPECT_EQ(of_stranger(R"("x5c":[")" + ec_.x5c() + "\"]"), "its signature is wrong");
  EXPECT_EQ(of_stranger(R"("jwk":)" + stranger.jwk(R"("x5c":[")" + ec_.x5c() + "\"]")), untrusted);
  // A certificate that the trusted one issued is trusted; one that it did not is not.
  EXPECT_EQ(of_stranger(R"("x5c":[")" + ec_.certify(stranger) + "\"]"), "");
  EXPECT_EQ(of_stranger(R"("x5c":[")" + ec_.certify(stranger) + R"(",")" + ec_.x5c() + "\"]"), "");
  EXPECT_EQ(of_stranger(R"("x5c":[")" + stranger.certify(stranger) + "\"]"), untrusted);
}

TEST(PublicKey, TheThumbprintOfRfc7638) {
  auth::Jwk jwk;
  jwk.kty = "RSA";
  jwk.e = "AQAB";
  jwk.n =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
      "BJECPeb"
      "WKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
      "FDW2QvzqY368Q"
      "QMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
      "bFTWhAI4vMQFh6WeZu0fM4lFd2"
      "NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
  const auto key = auth::PublicKey::from_jwk(jwk);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
  EXPECT_THAT(key->libtrust_id(), ::testing::MatchesRegex("([A-Z2-7]{4}:){11}[A-Z2-7]{4}"));
}

TEST_F(TokenTest, BadTokensOfEveryKind) {
  const auto config = token_config(ec_);
  const auto with_claims = [&](const std::string& text) {
    return problem(config, ec_.token("ES256", text));
  };
  const auto with_header = [&](const std::string& text) {
    return problem(config, ec_.token("ES256", text, claims()));
  };
  const std::string t = std::to_string(now());
  EXPECT_EQ(with_claims(claims("[]", std::to_string(now() - 30))), "") << "within the leeway";
  EXPECT_EQ(with_claims(claims("[]", std::to_string(now() - 90))), "it has expired");
  EXPECT_EQ(with_claims(claims("[]", "0")), "it has expired");
  EXPECT_EQ(with_claims(claims("[]", "1e300")), "exp is not a date");
  EXPECT_EQ(with_claims(claims("[]", "\"9999999999\"")), "exp is not a date");
  EXPECT_EQ(with_claims(claims("[]", "null")), "it does not say when it expires");
  EXPECT_EQ(with_claims(claims("[]", t + ".5")), "") << "a fraction";
  EXPECT_EQ(with_claims(claims("[]", "", R"(,"nbf":)" + std::to_string(now() + 30))), "");
  EXPECT_EQ(with_claims(claims("[]", "", R"(,"nbf":)" + std::to_string(now() + 90))),
            "it is not valid yet");
  const std::string later = R"("exp":)" + std::to_string(now() + 600);
  EXPECT_EQ(with_claims(R"({"iss":"issuer","aud":["x","service"],)" + later + "}"), "");
  EXPECT_EQ(with_claims(R"({"iss":"issuer","aud":["x"],)" + later + "}"),
            "it is for another service");
  EXPECT_EQ(with_claims(R"({"iss":"issuer",)" + later + "}"), "it is for another service");
  EXPECT_EQ(with_claims(R"({"iss":"other","aud":"service",)" + later + "}"),
            "it is from another issuer");
  EXPECT_EQ(with_claims(R"({"aud":"service",)" + later + "}"), "it is from another issuer");
  EXPECT_EQ(with_claims(claims("[]", "", R"(,"iss":"issuer")")),
            "the claims set has a member twice");
  EXPECT_EQ(with_claims(claims("{}")), "access is not a list");
  EXPECT_EQ(with_claims(claims(R"([{"type":1}])")), "type is not a string");
  EXPECT_EQ(with_claims(claims(R"([{"type":"repository","actions":"pull"}])")),
            "actions is not a list");
  EXPECT_EQ(with_claims("[]"), "the claims set is not a JSON object");
  EXPECT_EQ(with_claims("not json"), "the claims set is not JSON");
  EXPECT_EQ(with_claims(""), "the claims set is not JSON");
  EXPECT_EQ(with_claims(std::string(100, '[') + std::string(100, ']')),
            "the claims set is not JSON")
      << "too deep";
  EXPECT_EQ(with_claims(R"({"iss":"issuer","sub":"a\nb","aud":"service",)" + later + "}"),
            "its subject has control characters");
  EXPECT_EQ(with_claims(claims("[]", "", R"(,"x":")" + std::string(20000, 'x') + '"')),
            "it does not have the form of a signed token")
      << "too long";

  EXPECT_EQ(with_header("{}"), "its algorithm is not accepted");
  EXPECT_EQ(with_header("not json"), "the header is not JSON");
  EXPECT_EQ(with_header(R"({"alg":"none","kid":"test-key"})"), "its algorithm is not accepted");
  EXPECT_EQ(with_header(R"({"alg":"es256","kid":"test-key"})"), "its algorithm is not accepted");
  EXPECT_EQ(with_header(R"({"alg":"ES256","alg":"ES256","kid":"test-key"})"),
            "the header has a member twice");
  EXPECT_EQ(with_header(R"({"alg":"ES256","kid":"test-key","crit":["exp"]})"),
            "crit is not supported");
  EXPECT_EQ(with_header(R"({"alg":"ES256","kid":7})"), "kid is not a string");
  const std::string many = R"("A","A","A","A","A","A","A","A","A")";
  EXPECT_EQ(with_header(R"({"alg":"ES256","x5c":[)" + many + "]}"), "too many certificates");

  const std::string none = base64url(R"({"alg":"none"})") + "." + base64url(claims()) + ".";
  EXPECT_EQ(problem(config, none), "its algorithm is not accepted");
  for (const std::string& key : {ec_.pem(), ec_.public_pem(), ec_.jwk(), std::string()}) {
    EXPECT_EQ(problem(config, hs256(key, R"({"alg":"HS256","kid":"test-key"})", claims())),
              "its algorithm is not accepted");
    EXPECT_EQ(problem(config, hs256(key, R"({"alg":"ES256","kid":"test-key"})", claims())),
              "its signature is wrong");
  }
}

TEST_F(TokenTest, TruncatedAtEveryLengthAndChangedAtEveryPlace) {
  const auto config = token_config(ec_);
  const std::string good = ec_.token("ES256", claims());
  ASSERT_EQ(problem(config, good), "");
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_NE(problem(config, good.substr(0, length)), "") << length;
  }
  for (size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(problem(config, changed), "") << i;
  }
  for (const std::string& more : {"=", ".", "A", " ", "\n"}) {
    EXPECT_NE(problem(config, good + more), "") << more;
  }
  EXPECT_NE(problem(config, "." + good), "");
}

TEST_F(TokenTest, AnEcdsaSignatureOfZerosIsWrong) {
  const auto config = token_config(ec_);
  const std::string good = ec_.token("ES256", claims());
  const std::string text = good.substr(0, good.rfind('.') + 1);
  EXPECT_EQ(problem(config, text + base64url(std::string(64, '\0'))), "its signature is wrong");
  EXPECT_EQ(problem(config, text + base64url(std::string(63, '\1'))), "its signature is wrong");
  EXPECT_EQ(problem(config, text), "its signature is wrong");
}

TEST_F(TokenTest, OnlyTheAlgorithmsThatAreConfigured) {
  const TokenSigner rsa("RSA");
  const auto config = *with(sections(rsa, ", signingalgorithms: [RS256]")).auth.token;
  EXPECT_EQ(problem(config, rsa.token("RS256", claims())), "");
  EXPECT_EQ(problem(config, rsa.token("PS256", claims())), "its algorithm is not accepted");
}

TEST_F(TokenTest, WhatClientsSee) {
  const uint16_t port = start(with(sections(ec_))).port();
  const auto bearer = [&](const std::string& access) {
    return "Bearer " + ec_.token("ES256", claims(access));
  };
  const std::string begin = R"(Bearer realm="https://auth.example/token",service="service")";
  EXPECT_EQ(ask(port, "GET", "/v2/").header("WWW-Authenticate"), begin);
  const auto answer = ask(port, "POST", "/v2/a/b/blobs/uploads/");
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(error_code(answer), "UNAUTHORIZED");
  EXPECT_EQ(answer.header("WWW-Authenticate"), begin + R"(,scope="repository:a/b:pull,push")");
  EXPECT_EQ(ask(port, "GET", "/v2/_catalog").header("WWW-Authenticate"),
            begin + R"(,scope="registry:catalog:*")");
  const auto refused = ask(port, "GET", "/v2/a/b/tags/list", "Bearer a.b.c");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.header("WWW-Authenticate"),
            begin + R"(,scope="repository:a/b:pull",error="invalid_token")");

  const std::string pull = R"([{"type":"repository","name":"a/b","actions":["pull"]}])";
  EXPECT_EQ(ask(port, "GET", "/v2/", bearer("[]")).status, 200);
  EXPECT_EQ(ask(port, "GET", "/v2/a/b/tags/list", bearer(pull)).status, 404) << "no such thing";
  const auto lacking = ask(port, "POST", "/v2/a/b/blobs/uploads/", bearer(pull));
  EXPECT_EQ(lacking.status, 401);
  EXPECT_EQ(lacking.header("WWW-Authenticate"),
            begin + R"(,scope="repository:a/b:pull,push",error="insufficient_scope")");
  EXPECT_EQ(ask(port, "GET", "/v2/a/c/tags/list", bearer(pull)).status, 401);
  const std::string all = R"([{"type":"repository","name":"a/b","actions":["*"]}])";
  EXPECT_EQ(ask(port, "POST", "/v2/a/b/blobs/uploads/", bearer(all)).status, 202);
  EXPECT_EQ(ask(port, "GET", "/v2/_catalog", bearer(all)).status, 401);
  const std::string catalog = R"([{"type":"registry","name":"catalog","actions":["*"]}])";
  EXPECT_EQ(ask(port, "GET", "/v2/_catalog", bearer(catalog)).status, 200);
  EXPECT_EQ(ask(port, "GET", "/v2/", basic("ann", "secret")).status, 401);
}

TEST_F(TokenTest, TheRealmCanBeTheRegistrysOwnHost) {
  const uint16_t port = start(with(sections(ec_, ", autoredirect: true"))).port();
  const auto challenge = [&](const std::string& host) {
    return call(port, "GET", "/v2/", "", fields({{"X-Forwarded-Host", host}}))
        .header("WWW-Authenticate");
  };
  EXPECT_THAT(challenge("registry.example:5000"),
              HasSubstr(R"(realm="https://registry.example:5000/auth/token")"));
  EXPECT_THAT(challenge("x\",realm=\"https://evil"), HasSubstr(R"(realm="https://auth.example/)"));
}

TEST_F(TokenTest, NoTokenIsLoggedOrReturned) {
  test::LogCapture log;
  const uint16_t port = start(with(sections(ec_))).port();
  const TokenSigner stranger("P-256");
  std::string seen;
  std::string token;
  for (int i = 0; i < 50; ++i) {
    token = stranger.token("ES256", claims());
    const auto answer = ask(port, "GET", "/v2/a/tags/list", "Bearer " + token);
    seen += answer.body + answer.header("WWW-Authenticate");
  }
  EXPECT_EQ(log.count("its signature is wrong"), 1U) << log.text();
  for (const std::string& part : {token, token.substr(token.rfind('.') + 1), std::string("eyJ")}) {
    EXPECT_THAT(seen, Not(HasSubstr(part)));
    EXPECT_THAT(log.text(), Not(HasSubstr(part)));
  }
}

TEST_F(TokenTest, AReloadChangesTheKeys) {
  Registry& registry = start(with(sections(ec_)));
  const TokenSigner next("P-256");
  const std::string token = "Bearer " + next.token("ES256", claims());
  EXPECT_EQ(ask(registry.port(), "GET", "/v2/", token).status, 401);
  registry.reload(with(sections(next)));
  EXPECT_EQ(ask(registry.port(), "GET", "/v2/", token).status, 200);
}

}  // namespace
}  // namespace origin

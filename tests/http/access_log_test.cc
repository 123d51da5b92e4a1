#include "http/access_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

Request request() {
  Request r;
  r.method = "GET";
  r.target = "/v2/a\"b";
  r.peer.address = "192.0.2.1";
  return r;
}

std::string line(const Request& r, AccessFormat format, bool complete = true) {
  Headers headers;
  headers.add("Docker-Content-Digest", "sha256:aa");
  headers.add("Cache-Status", "entrepot-edge; hit");
  return access_line({.request = r,
                      .status = 200,
                      .body_bytes = 12,
                      .duration = std::chrono::microseconds(1500),
                      .response_headers = headers,
                      .complete = complete},
                     format);
}

TEST(AccessLog, CombinedWithOurFieldsBehind) {
  Request r = request();
  r.user = "releng two";
  r.id = "id-1";
  r.client = "198.51.100.7";
  r.headers.add("User-Agent", "curl\n");
  EXPECT_THAT(
      line(r, AccessFormat::combined),
      MatchesRegex("198\\.51\\.100\\.7 - releng_two \\[.*\\] \"GET /v2/a\\\\\"b HTTP/1\\.1\" "
                   "200 12 \"-\" \"curl\\\\n\" 1\\.5 id-1 sha256:aa "
                   "\"entrepot-edge; hit\" -"));
}

TEST(AccessLog, WhatSignsAUrlIsHidden) {
  Request r = request();
  r.target = "/v2/a?x=y&entrepot-signature=k~1~-~secret";
  r.headers.add("Referer", "https://cdn.example/v2/b?entrepot-signature=k~1~-~secret");
  for (const AccessFormat format : {AccessFormat::combined, AccessFormat::json}) {
    EXPECT_THAT(line(r, format), HasSubstr("/v2/a?x=y&entrepot-signature=***"));
    EXPECT_THAT(line(r, format), HasSubstr("/v2/b?entrepot-signature=***"));
    EXPECT_THAT(line(r, format), Not(HasSubstr("secret")));
  }
}

TEST(AccessLog, WhatIsNotKnownIsADash) {
  const Request r = request();
  EXPECT_THAT(
      access_line({.request = r,
                   .status = 404,
                   .body_bytes = 0,
                   .duration = std::chrono::seconds(0),
                   .response_headers = {},
                   .complete = false}),
      MatchesRegex("192\\.0\\.2\\.1 - - \\[.*\\] \".*\" 499 0 \"-\" \"-\" 0\\.0 - - \"-\" -"));
}

TEST(AccessLog, HowLongUpstreamsWereWaitedFor) {
  Request r = request();
  r.upstream_wait = std::chrono::microseconds(250'300);
  EXPECT_THAT(line(r, AccessFormat::combined), EndsWith(" 250.3"));
  EXPECT_THAT(line(r, AccessFormat::json), EndsWith(R"(,"upstream_ms":250.3})"));
}

TEST(AccessLog, Json) {
  Request r = request();
  r.user = "quote\"d";
  r.headers.add("Authorization", "Basic c2VjcmV0");
  const std::string text = line(r, AccessFormat::json);
  EXPECT_THAT(text, HasSubstr(R"("client":"192.0.2.1","user":"quote\"d","method":"GET")"));
  EXPECT_THAT(text, HasSubstr(R"("status":200,"bytes":12,"ms":1.5,"digest":"sha256:aa")"));
  EXPECT_EQ(text.find("c2VjcmV0"), std::string::npos);
  EXPECT_THAT(text, Not(HasSubstr("referer")));
  EXPECT_THAT(text, Not(HasSubstr("upstream_ms")));
}

}  // namespace
}  // namespace http

#include "http/request_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/body.h"
#include "tests/http/parse_all.h"

namespace http {
namespace {

using test::parse_all;

struct Case {
  const char* name;
  std::string bytes;
  std::string outcome;
};

const std::string kGetHead = "GET / HTTP/1.1\r\nHost: h\r\n";
const std::string kPost = "POST /u HTTP/1.1\r\nHost: h\r\n";
const std::string kChunked = kPost + "Transfer-Encoding: chunked\r\n\r\n";
using namespace std::string_literals;

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      // What must work.
      {"plain get", kGetHead + "\r\n", "GET /|"},
      {"http 1.0 without host", "GET /a HTTP/1.0\r\n\r\n", "GET /a|"},
      {"pipelined", kGetHead + "\r\n" + kPost + "Content-Length: 2\r\n\r\nhi" + kGetHead + "\r\n",
       "GET /| POST /u|hi GET /|"},
      {"content length", kPost + "Content-Length: 5\r\n\r\nhello", "POST /u|hello"},
      {"content length zero", kPost + "Content-Length: 0\r\n\r\n", "POST /u|"},
      {"get with body", kGetHead + "Content-Length: 5\r\n\r\nhello", "GET /|hello"},
      {"body not all there", kPost + "Content-Length: 6\r\n\r\nhello", "…"},
      {"head not all there", kGetHead, "…"},
      {"chunked", kChunked + "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "POST /u|hello world"},
      {"chunked, upper case hex", kChunked + "A\r\n0123456789\r\n0\r\n\r\n", "POST /u|0123456789"},
      {"chunked, then next", kChunked + "1\r\nx\r\n0\r\n\r\n" + kGetHead + "\r\n",
       "POST /u|x GET /|"},
      {"chunk extension", kChunked + "1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n", "POST /u|x"},
      {"trailer dropped", kChunked + "1\r\nx\r\n0\r\nChecksum: 1\r\n\r\n", "POST /u|x"},
      {"coding name in other case", kPost + "transfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
       "POST /u|"},
      {"empty line before the request", "\r\n" + kGetHead + "\r\n", "GET /|"},
      {"space around value", "GET / HTTP/1.1\r\nHost: \t h \t \r\n\r\n", "GET /|"},
      {"no space before value", "GET / HTTP/1.1\r\nHost:h\r\n\r\n", "GET /|"},
      {"high bytes in value", kGetHead + "X: \xc3\xa4\r\n\r\n", "GET /|"},
      {"escapes", "GET /a%20b%2Fc%00d%41 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a b%2Fc%00dA|"},
      {"options *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS *|"},
      {"absolute form, same host", "GET http://h/x?y HTTP/1.1\r\nHost: h\r\n\r\n", "GET /x|"},
      {"absolute form, no path", "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "GET /|"},
      {"upgrade ignored", kGetHead + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", "GET /|"},
      {"host with port", "GET / HTTP/1.1\r\nHost: [::1]:5000\r\n\r\n", "GET /|"},

      // Two lengths.
      {"length and chunked",
       kPost + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"chunked and length",
       kPost + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400"},
      {"length and unknown coding",
       kPost + "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\nhello", "400"},
      {"two different lengths", kPost + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
       "400"},
      {"two equal lengths", kPost + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "400"},
      {"length list", kPost + "Content-Length: 5, 5\r\n\r\nhello", "400"},
      {"length list, different", kPost + "Content-Length: 5, 6\r\n\r\nhello", "400"},
      {"length with plus", kPost + "Content-Length: +5\r\n\r\nhello", "400"},
      {"length with minus", kPost + "Content-Length: -5\r\n\r\nhello", "400"},
      {"length in hex", kPost + "Content-Length: 0x5\r\n\r\nhello", "400"},
      {"length with garbage", kPost + "Content-Length: 5a\r\n\r\nhello", "400"},
      {"length with space inside", kPost + "Content-Length: 1 0\r\n\r\n0123456789", "400"},
      {"empty length", kPost + "Content-Length: \r\n\r\nhello", "400"},
      {"length too large", kPost + "Content-Length: 18446744073709551616\r\n\r\nhello", "400"},
      {"length in quotes", kPost + "Content-Length: \"5\"\r\n\r\nhello", "400"},
      {"fraction", kPost + "Content-Length: 5.0\r\n\r\nhello", "400"},

      // Transfer codings.
      {"unknown coding", kPost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
      {"gzip, chunked", kPost + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
      {"chunked, gzip", kPost + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "501"},
      {"identity", kPost + "Transfer-Encoding: identity\r\n\r\nhello", "501"},
      {"identity and chunked in two fields",
       kPost + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"chunked twice in two fields",
       kPost + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"chunked twice", kPost + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501"},
      {"empty coding", kPost + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", "501"},
      {"quoted coding", kPost + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "501"},
      {"coding with parameter", kPost + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "501"},
      {"coding with vertical tab", kPost + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "400"},
      {"coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
       "400"},
      {"space before colon", kPost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"},
      {"tab before colon", kPost + "Content-Length\t: 5\r\n\r\nhello", "400"},

      // Chunks.
      {"chunk size empty", kChunked + "\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size not hex", kChunked + "g\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size with 0x", kChunked + "0x5\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size with plus", kChunked + "+5\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size with minus", kChunked + "-5\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size with space before", kChunked + " 5\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size of 17 digits", kChunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", "400"},
      {"chunk data too long", kChunked + "5\r\nhelloX\r\n0\r\n\r\n", "400"},
      {"chunk data without line end", kChunked + "5\r\nhello0\r\n\r\n", "400"},
      {"chunk data with bare line feed", kChunked + "5\r\nhello\n0\r\n\r\n", "400"},
      {"chunk size with bare line feed", kChunked + "5\nhello\r\n0\r\n\r\n", "400"},
      {"chunk size with bare carriage return", kChunked + "5\rXhello\r\n0\r\n\r\n", "400"},
      {"chunk extension with bare line feed", kChunked + "5;a\nhello\r\n0\r\n\r\n", "400"},
      {"control byte in chunk extension", kChunked + "5;a=\"\x01\"\r\nhello\r\n0\r\n\r\n", "400"},
      {"line feed in quoted chunk extension", kChunked + "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", "400"},
      {"nothing after semicolon", kChunked + "5;\r\nhello\r\n0\r\n\r\n", "400"},
      {"trailer without name", kChunked + "0\r\n: x\r\n\r\n", "400"},
      {"trailer with space before colon", kChunked + "0\r\nA : x\r\n\r\n", "400"},
      {"trailer with bare line feed", kChunked + "0\r\nA: x\nB: y\r\n\r\n", "400"},
      {"endless chunk extension", kChunked + "5;a=" + std::string(3000, 'x'), "400"},
      {"endless trailers", kChunked + "0\r\nA: " + std::string(3000, 'x'), "400"},

      // Lines.
      {"bare line feeds", "GET / HTTP/1.1\nHost: h\n\n", "400"},
      {"one bare line feed", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "400"},
      {"bare line feed at the end", kGetHead + "\n", "400"},
      {"bare carriage return in value", kGetHead + "X: a\rb\r\n\r\n", "400"},
      {"carriage returns before line feed", kGetHead + "X: a\r\r\n\r\n", "400"},
      {"folded field", kGetHead + "X: a\r\n b\r\n\r\n", "400"},
      {"folded field, tab", kGetHead + "X: a\r\n\tb\r\n\r\n", "400"},
      {"folded, value on the second line", kPost + "Content-Length:\r\n 5\r\n\r\nhello", "400"},
      {"space before the first field", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", "400"},
      {"null in value", kGetHead + "X: a\0b\r\n\r\n"s, "400"},
      {"null in name", kGetHead + "X\0: b\r\n\r\n"s, "400"},
      {"delete in value", kGetHead + "X: a\x7f\r\n\r\n", "400"},
      {"escape byte in value", kGetHead + "X: a\x1b[0m\r\n\r\n", "400"},
      {"no colon", kGetHead + "Xab\r\n\r\n", "400"},
      {"no name", kGetHead + ": a\r\n\r\n", "400"},
      {"bracket in name", kGetHead + "X[: a\r\n\r\n", "400"},
      {"high byte in name", kGetHead + "X\xc3: a\r\n\r\n", "400"},
      {"two empty lines first", "\r\n\r\n" + kGetHead + "\r\n", "400"},

      // Request line.
      {"space in target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"two spaces before target", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"tab in request line", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"trailing space", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "400"},
      {"control byte in target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"null in target", "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"s, "400"},
      {"high byte in target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"fragment in target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"bad escape", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"cut escape", "GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"GET *", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"HTTP/0.9", "GET /\r\n\r\n", "400"},
      {"lower case protocol", "GET / http/1.1\r\nHost: h\r\n\r\n", "400"},
      {"two digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", "400"},
      {"HTTP/9.9", "GET / HTTP/9.9\r\nHost: h\r\n\r\n", "505"},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", "400"},
      {"bad method", "G<T / HTTP/1.1\r\nHost: h\r\n\r\n", "400"},
      {"TLS on a plain port", "\x16\x03\x01\x02", "400"},
      {"trace", "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "405"},
      {"connect", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "405"},

      // Host.
      {"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
      {"two hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "400"},
      {"two hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\nHost: i\r\n\r\n", "400"},
      {"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "400"},
      {"host with path", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", "400"},
      {"host with user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "400"},
      {"host list", "GET / HTTP/1.1\r\nHost: h, i\r\n\r\n", "400"},
      {"absolute form, other host", "GET http://i/ HTTP/1.1\r\nHost: h\r\n\r\n", "421"},
      {"absolute form with user", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", "421"},
      {"other scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "400"},

      // Sizes.
      {"long request line", "GET /" + std::string(2000, 'a'), "431"},
      {"long field", kGetHead + "X: " + std::string(2000, 'a'), "431"},
      {"many fields",
       kGetHead +
           [] {
             std::string fields;
             for (int i = 0; i < 200; ++i) fields += "a:\r\n";
             return fields;
           }() +
           "\r\n",
       "431"},
  };
  return all;
}

TEST(RequestParser, GivenWhole) {
  for (const Case& c : cases()) EXPECT_EQ(parse_all(c.bytes, c.bytes.size()), c.outcome) << c.name;
}

TEST(RequestParser, GivenByteByByte) {
  for (const Case& c : cases()) EXPECT_EQ(parse_all(c.bytes, 1), c.outcome) << c.name;
}

TEST(RequestParser, GivenInThrees) {
  for (const Case& c : cases()) EXPECT_EQ(parse_all(c.bytes, 3), c.outcome) << c.name;
}

TEST(RequestParser, TheTableHoldsEnoughBadRequests) {
  size_t bad = 0;
  for (const Case& c : cases()) {
    if (c.outcome.size() == 3 && c.outcome[0] >= '4') ++bad;
  }
  EXPECT_GE(bad, 64U);
}

// A refused request must not be taken for a good one when its connection is a pipeline.
TEST(RequestParser, RefusesAfterGoodRequests) {
  EXPECT_EQ(
      parse_all(kGetHead + "\r\n" + kPost + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 7),
      "GET /| 400");
}

TEST(RequestParser, FillsTheRequest) {
  const std::string head =
      "PUT /v2/a%2bb/c?digest=sha256%3Aab&x=1+2&x HTTP/1.1\r\nHOST: example:5000\r\n"
      "Accept: a\r\nAccept: b\r\n\r\n";
  RequestParser parser(4096);
  Request request;
  ASSERT_EQ(parser.parse_head(head, request), head.size());
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.target, "/v2/a%2bb/c?digest=sha256%3Aab&x=1+2&x");
  EXPECT_EQ(request.path, "/v2/a+b/c");
  EXPECT_EQ(request.query, "digest=sha256%3Aab&x=1+2&x");
  EXPECT_EQ(request.query_value("digest"), "sha256:ab");
  EXPECT_EQ(request.query_values("x"), (std::vector<std::string>{"1 2", ""}));
  EXPECT_EQ(request.query_value("none"), std::nullopt);
  EXPECT_EQ(request.headers.get("host"), "example:5000");
  EXPECT_EQ(request.headers.joined("accept"), "a, b");
  EXPECT_TRUE(parser.keep_alive());
  EXPECT_EQ(parser.content_length(), 0U);
  EXPECT_TRUE(parser.done());
}

TEST(RequestParser, KnowsWhetherTheConnectionStays) {
  const auto stays = [](const std::string& head) {
    RequestParser parser(4096);
    Request request;
    EXPECT_EQ(parser.parse_head(head, request), head.size());
    return parser.keep_alive();
  };
  EXPECT_TRUE(stays("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_FALSE(stays("GET / HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n"));
  EXPECT_FALSE(stays("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n"));
  EXPECT_FALSE(stays("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(stays("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
}

}  // namespace
}  // namespace http

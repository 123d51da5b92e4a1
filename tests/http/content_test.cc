#include "http/content.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/durable_file.h"
#include "tests/support/raw_client.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_server.h"

namespace http {
namespace {

using test::RawClient;
using test::RawResponse;

constexpr std::string_view kBytes = "0123456789abcdefghij";

base::Task<void> serve(Exchange* e, int fd, uint64_t size) {
  ContentInfo info{.size = size, .etag = "\"tag,1\""};
  info.headers.add("Content-Type", "text/x");
  info.headers.add("Cache-Control", "immutable");
  info.unsatisfiable.add("X-Server", "s");
  FileSource source(fd);
  co_await serve_content(*e, std::move(info), source);
}

class Content : public testing::Test {
 protected:
  RawResponse get(const std::string& fields, const std::string& method = "GET") {
    client_.send(method + " / HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n");
    return client_.response(method == "HEAD");
  }

  const test::TempDir dir_;
  const base::UniqueFd file_ = base::open_file(dir_.write("f", kBytes), O_RDONLY);
  uint64_t size_ = kBytes.size();
  test::TestServer server_{[this](Exchange& e) { return serve(&e, file_.get(), size_); }};
  RawClient client_{server_.port()};
};

TEST_F(Content, Whole) {
  for (const std::string& fields : {std::string(), std::string("Range: lines=1-2\r\n")}) {
    const RawResponse response = get(fields);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, kBytes);
    EXPECT_EQ(response.headers.get("ETag"), "\"tag,1\"");
    EXPECT_EQ(response.headers.get("Accept-Ranges"), "bytes");
    EXPECT_EQ(response.headers.get("Content-Type"), "text/x");
    EXPECT_FALSE(response.headers.has("Content-Range"));
  }
}

TEST_F(Content, Empty) {
  size_ = 0;
  const RawResponse response = get("");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("Content-Length"), "0");
}

TEST_F(Content, Head) {
  RawResponse response = get("", "HEAD");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.get("Content-Length"), "20");
  response = get("Range: bytes=2-4\r\n", "HEAD");
  EXPECT_EQ(response.status, 206);
  EXPECT_EQ(response.headers.get("Content-Length"), "3");
  EXPECT_EQ(response.headers.get("Content-Range"), "bytes 2-4/20");
  response = get("Range: bytes=0-1,4-5\r\n", "HEAD");
  EXPECT_EQ(response.status, 206);
  EXPECT_EQ(get("").body, kBytes);  // and no byte of a body came before
}

TEST_F(Content, OneRange) {
  const RawResponse response = get("Range: bytes=10-\r\n");
  EXPECT_EQ(response.status, 206);
  EXPECT_EQ(response.body, "abcdefghij");
  EXPECT_EQ(response.headers.get("Content-Range"), "bytes 10-19/20");
  EXPECT_EQ(response.headers.get("Content-Type"), "text/x");
  EXPECT_EQ(response.headers.get("ETag"), "\"tag,1\"");
  EXPECT_EQ(get("Range: bytes=-2\r\n").body, "ij");
}

TEST_F(Content, SeveralRanges) {
  const RawResponse response = get("Range: bytes=0-1,18-,5-5\r\n");
  EXPECT_EQ(response.status, 206);
  EXPECT_FALSE(response.headers.has("Content-Range"));
  const std::string type(*response.headers.get("Content-Type"));
  const std::string prefix = "multipart/byteranges; boundary=";
  ASSERT_TRUE(type.starts_with(prefix));
  const std::string boundary = type.substr(prefix.size());
  const auto part = [&](const std::string& range, const std::string& bytes) {
    return "--" + boundary + "\r\nContent-Type: text/x\r\nContent-Range: bytes " + range +
           "/20\r\n\r\n" + bytes + "\r\n";
  };
  EXPECT_EQ(response.body, part("0-1", "01") + part("18-19", "ij") + part("5-5", "5") + "--" +
                               boundary + "--\r\n");
}

TEST_F(Content, RangeThatCannotBe) {
  for (const char* range : {"bytes=20-", "bytes=5-2", "bytes=-0"}) {
    const RawResponse response = get("Range: " + std::string(range) + "\r\n");
    EXPECT_EQ(response.status, 416) << range;
    EXPECT_EQ(response.body, "");
    EXPECT_EQ(response.headers.get("Content-Length"), "0");
    EXPECT_EQ(response.headers.get("Content-Range"), "bytes */20");
    EXPECT_FALSE(response.headers.has("Cache-Control"));
    EXPECT_FALSE(response.headers.has("ETag"));
    EXPECT_EQ(response.headers.get("X-Server"), "s");
  }
}

TEST_F(Content, IfRange) {
  const std::string range = "Range: bytes=0-1\r\nIf-Range: ";
  EXPECT_EQ(get(range + "\"tag,1\"\r\n").status, 206);
  EXPECT_EQ(get(range + "\"other\"\r\n").status, 200);
  EXPECT_EQ(get(range + "W/\"tag,1\"\r\n").status, 200);  // weak never matches here
  EXPECT_EQ(get(range + "Sun, 06 Nov 1994 08:49:37 GMT\r\n").status, 200);
}

TEST_F(Content, IfNoneMatch) {
  for (const char* field : {"\"tag,1\"", "W/\"tag,1\"", "*", "\"x\", \"tag,1\"",
                            "W/\"x\",W/\"tag,1\"", "\"x\",,\"tag,1\" , \"y\""}) {
    const RawResponse response = get("If-None-Match: " + std::string(field) + "\r\n");
    EXPECT_EQ(response.status, 304) << field;
    EXPECT_EQ(response.headers.get("ETag"), "\"tag,1\"");
    EXPECT_EQ(response.headers.get("Cache-Control"), "immutable");
  }
  for (const char* field : {"\"tag\"", "tag,1", "\"x\"", "\"tag,1", "", "\"a\",\"1\""}) {
    EXPECT_EQ(get("If-None-Match: " + std::string(field) + "\r\n").status, 200) << field;
  }
  // Comes before Range, and several fields are one list.
  EXPECT_EQ(get("Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nIf-None-Match: \"tag,1\"\r\n").status,
            304);
  EXPECT_EQ(get("If-None-Match: *\r\n", "HEAD").status, 304);
}

}  // namespace
}  // namespace http

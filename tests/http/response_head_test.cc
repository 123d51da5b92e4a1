#include "http/response_head.h"

#include <gtest/gtest.h>

namespace http {
namespace {

using Progress = ResponseHead::Progress;

// Gives the lines of the text to the head; what the last of them came to.
Progress take(ResponseHead& head, std::string_view text) {
  Progress progress = Progress::more;
  while (!text.empty() && progress == Progress::more) {
    const size_t end = text.find('\n') + 1;
    progress = head.take(text.substr(0, end));
    text.remove_prefix(end);
  }
  return progress;
}

TEST(ResponseHead, StatusAndFields) {
  ResponseHead head;
  EXPECT_EQ(take(head,
                 "HTTP/1.1 206 Partial Content\r\nContent-Length: 12\r\nA:  b c \r\n"
                 "Empty:\r\n\r\n"),
            Progress::complete);
  EXPECT_EQ(head.status(), 206);
  EXPECT_EQ(head.content_length(), 12U);
  EXPECT_EQ(head.headers().get("a"), "b c");
  EXPECT_EQ(head.headers().get("empty"), "");
  EXPECT_EQ(head.headers().size(), 3U);
}

TEST(ResponseHead, ReasonMayBeMissing) {
  ResponseHead head;
  EXPECT_EQ(take(head, "HTTP/1.1 200\r\n\r\n"), Progress::complete);
  EXPECT_EQ(head.status(), 200);
  EXPECT_EQ(head.content_length(), std::nullopt);
}

TEST(ResponseHead, FoldedFieldBecomesOneValue) {
  ResponseHead head;
  EXPECT_EQ(take(head, "HTTP/1.1 200 OK\r\nA: one\r\n  two\r\n\tthree \r\nB: x\r\n\r\n"),
            Progress::complete);
  EXPECT_EQ(head.headers().get("A"), "one two three");
  EXPECT_EQ(head.headers().get("B"), "x");
}

TEST(ResponseHead, InterimHeadsLeaveNothing) {
  ResponseHead head;
  EXPECT_EQ(take(head,
                 "HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 3\r\n\r\n"
                 "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n"),
            Progress::complete);
  EXPECT_EQ(head.status(), 404);
  EXPECT_EQ(head.headers().size(), 1U);
  EXPECT_EQ(head.content_length(), std::nullopt);
}

TEST(ResponseHead, TransferEncodingOverrulesContentLength) {
  ResponseHead head;
  EXPECT_EQ(
      take(head, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
      Progress::complete);
  EXPECT_EQ(head.content_length(), std::nullopt);
}

TEST(ResponseHead, Malformed) {
  for (const std::string_view text :
       {"HTTP/1.1\r\n", "HTTP/1.1 20\r\n", "HTTP/1.1 xyz\r\n", "HTTP/1.1 099 No\r\n",
        "ICY 200 OK\r\n", "\r\n", "HTTP/1.1 200 OK\r\n folded nothing\r\n",
        "HTTP/1.1 200 OK\r\n: no name\r\n", "HTTP/1.1 200 OK\r\nnothing\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"}) {
    ResponseHead head;
    EXPECT_EQ(take(head, text), Progress::malformed) << text;
    EXPECT_NE(head.error(), "") << text;
  }
}

TEST(ResponseHead, SizeIsLimited) {
  ResponseHead head;
  EXPECT_EQ(take(head, "HTTP/1.1 200 OK\r\n"), Progress::more);
  EXPECT_EQ(head.take("A: " + std::string(ResponseHead::kMaxBytes - 100, 'x')), Progress::more);
  EXPECT_EQ(head.take("B: " + std::string(100, 'x')), Progress::malformed);
}

}  // namespace
}  // namespace http

// What is computed and shown of an edge's figures.
#include <gtest/gtest.h>

#include "proxy/status_page.h"
#include "proxy/throughput.h"

namespace proxy {
namespace {

base::TimePoint at(int seconds) { return base::TimePoint{} + std::chrono::seconds(seconds); }

TEST(Throughput, NeedsTwoSamples) {
  Throughput throughput;
  EXPECT_EQ(throughput.over_the_last_minute().requests, 0);
  throughput.add(at(0), {.requests = 10});
  EXPECT_EQ(throughput.over_the_last_minute().requests, 0);
}

TEST(Throughput, IsTheGrowthOverTime) {
  Throughput throughput;
  throughput.add(at(10), {.requests = 100, .hits = 100, .sent_bytes = 1000, .received_bytes = 50});
  throughput.add(at(12), {.requests = 110, .hits = 104, .sent_bytes = 5000, .received_bytes = 150});
  const Throughput::PerSecond rate = throughput.over_the_last_minute();
  EXPECT_DOUBLE_EQ(rate.requests, 5);
  EXPECT_DOUBLE_EQ(rate.sent_bytes, 2000);
  EXPECT_DOUBLE_EQ(rate.received_bytes, 50);
  EXPECT_DOUBLE_EQ(rate.hit_ratio, 0.4);
}

TEST(Throughput, ForgetsWhatIsOlderThanAMinute) {
  Throughput throughput;
  throughput.add(at(0), {.requests = 0});
  throughput.add(at(1), {.requests = 1'000'000});
  throughput.add(at(61), {.requests = 1'000'000});
  EXPECT_EQ(throughput.over_the_last_minute().requests, 0);
}

TEST(StatusPage, EscapesWhatClientsSent) {
  Status status;
  status.name = "edge & <1>";
  status.serving.push_back({.client = "::1", .method = "GET", .path = "/v2/<script>\"'"});
  status.fills.push_back({.digest = "sha256:<b>", .upstream = "<u>", .repository = "<r>"});
  const std::string page = status_page(status);
  EXPECT_NE(page.find("edge &amp; &lt;1&gt;"), std::string::npos);
  EXPECT_NE(page.find("/v2/&lt;script&gt;&quot;&#39;"), std::string::npos);
  for (const char* raw : {"<script", "<b>sha", "<u>", "<r>"}) {
    EXPECT_EQ(page.find(raw), std::string::npos) << raw;
  }
}

TEST(StatusPage, NumbersAreForPeople) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.00 kB");
  EXPECT_EQ(human_bytes(9996), "10.0 kB");
  EXPECT_EQ(human_bytes(99'960), "100 kB");
  EXPECT_EQ(human_bytes(999'600), "1.00 MB");
  EXPECT_EQ(human_bytes(12.34e12), "12.3 TB");
  EXPECT_EQ(human_bytes(5e18), "5000 PB");
  EXPECT_EQ(human_time(1.24), "1.2s");
  EXPECT_EQ(human_time(59.4), "59s");
  EXPECT_EQ(human_time(245), "4m 05s");
  EXPECT_EQ(human_time(7260), "2h 01m");
  EXPECT_EQ(human_time(200'000), "2d 7h");
}

}  // namespace
}  // namespace proxy

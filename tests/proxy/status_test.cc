// What is computed and shown of an edge's figures.
#include <gtest/gtest.h>

#include "proxy/status_page.h"
#include "proxy/throughput.h"
#include "proxy/upstream_metrics.h"

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

TEST(Throughput, BeginsAnewWithAnUpstreamThatDoes) {
  Throughput throughput;
  throughput.add(at(0), {.received_bytes = 1'000'000});
  throughput.add(at(1), {.received_bytes = 500});
  EXPECT_EQ(throughput.over_the_last_minute().received_bytes, 0);
  throughput.add(at(2), {.received_bytes = 700});
  EXPECT_DOUBLE_EQ(throughput.over_the_last_minute().received_bytes, 200);
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

Status with_upstreams() {
  Status status;
  status.cache.capacity = 100'000;
  status.cache.accounts["slow"] = {.blobs = 2, .bytes = 8192, .quota = 20'000};
  UpstreamStatus& fast = status.upstreams.emplace_back();
  fast.name = "fast";
  fast.urls.push_back({.url = "https://fast.example"});
  fast.urls[0].answers = 10;
  fast.urls[0].first_byte = std::chrono::milliseconds(100);
  UpstreamStatus& slow = status.upstreams.emplace_back();
  slow.name = "slow";
  slow.urls.push_back({.url = "https://slow.example", .requests = 3, .failures = {1, 0, 1}});
  slow.urls[0].answers = 2;
  slow.urls[0].bytes = 5000;
  slow.urls[0].first_byte = std::chrono::milliseconds(800);
  slow.urls[0].ejected_for = std::chrono::seconds(30);
  slow.urls[0].last_error = "<refused>";
  return status;
}

TEST(StatusPage, TheSlowestUpstreamIsTheFirst) {
  const std::string page = status_page(with_upstreams());
  const size_t slow = page.find("slow.example");
  ASSERT_NE(slow, std::string::npos);
  EXPECT_LT(slow, page.find("fast.example"));
  for (const char* text :
       {"400 ms", "10 ms", "8.19 kB of 20.0 kB", "5.00 kB", "left out for 30s"}) {
    EXPECT_NE(page.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(page.find("<refused>"), std::string::npos);
}

TEST(Status, UpstreamsInJson) {
  const nlohmann::json json = to_json(with_upstreams());
  const nlohmann::json& slow = json["upstreams"][1];
  EXPECT_EQ(slow["name"], "slow");
  EXPECT_EQ(slow["held_blobs"], 2);
  EXPECT_EQ(slow["held_bytes"], 8192);
  EXPECT_EQ(slow["quota_bytes"], 20'000);
  const nlohmann::json& url = slow["urls"][0];
  EXPECT_EQ(url["requests"], 3);
  EXPECT_EQ(url["failures"], 2);
  EXPECT_EQ(url["received_bytes"], 5000);
  EXPECT_DOUBLE_EQ(url["first_byte_seconds"], 0.4);
  EXPECT_DOUBLE_EQ(url["ejected_for_seconds"], 30);
  EXPECT_EQ(json["upstreams"][0]["held_bytes"], 0);
  EXPECT_FALSE(json["upstreams"][0].contains("quota_bytes"));
}

TEST(UpstreamMetrics, HaveTheUpstreamsNameAsTheirOnlyLabel) {
  const Status status = with_upstreams();
  std::map<std::string, double> of_fast;
  std::map<std::string, double> of_slow;
  for (const prometheus::MetricFamily& family : upstream_metrics(status.upstreams, status.cache)) {
    ASSERT_EQ(family.metric.size(), 2U) << family.name;
    for (const prometheus::ClientMetric& metric : family.metric) {
      ASSERT_EQ(metric.label.size(), 1U) << family.name;
      EXPECT_EQ(metric.label[0].name, "upstream");
      auto& figures = metric.label[0].value == "slow" ? of_slow : of_fast;
      figures[family.name] = family.type == prometheus::MetricType::Counter ? metric.counter.value
                                                                            : metric.gauge.value;
    }
  }
  EXPECT_EQ(of_slow["entrepot_upstream_failures_total"], 2);
  EXPECT_EQ(of_slow["entrepot_upstream_received_bytes_total"], 5000);
  EXPECT_EQ(of_slow["entrepot_upstream_held_bytes"], 8192);
  EXPECT_EQ(of_slow["entrepot_upstream_quota_bytes"], 20'000);
  EXPECT_EQ(of_fast["entrepot_upstream_quota_bytes"], 100'000) << "none: the budget bounds it";
  EXPECT_EQ(of_slow["entrepot_upstream_ejected_urls"], 1);
  EXPECT_DOUBLE_EQ(of_slow["entrepot_upstream_first_byte_seconds_total"], 0.8);
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

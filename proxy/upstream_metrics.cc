#include "proxy/upstream_metrics.h"

#include <chrono>
#include <functional>
#include <string>

#include "proxy/status.h"

namespace proxy {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

}  // namespace

std::vector<MetricFamily> upstream_metrics(const std::vector<UpstreamStatus>& upstreams,
                                           const cache::StoreStats& cache) {
  std::vector<MetricFamily> families;
  const auto family = [&](MetricType type, const char* name, const char* help,
                          const std::function<double(const UpstreamStatus&)>& value) {
    MetricFamily& made = families.emplace_back(MetricFamily{name, help, type, {}});
    for (const UpstreamStatus& upstream : upstreams) {
      ClientMetric& metric = made.metric.emplace_back();
      metric.label = {{"upstream", upstream.name}};
      (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value(upstream);
    }
  };
  const auto sum = [](const UpstreamStatus& upstream, auto of) {
    double all = 0;
    for (const UrlStatus& url : upstream.urls) all += static_cast<double>(of(url));
    return all;
  };
  const auto held = [&](const UpstreamStatus& upstream) { return cache.account(upstream.name); };
  constexpr MetricType kCounter = MetricType::Counter;
  constexpr MetricType kGauge = MetricType::Gauge;

  family(kCounter, "entrepot_upstream_requests_total", "Requests to the upstream.",
         [&](const auto& upstream) {
           return sum(upstream, [](const UrlStatus& url) { return url.requests; });
         });
  family(kCounter, "entrepot_upstream_failures_total", "Requests to the upstream that failed.",
         [&](const auto& upstream) { return sum(upstream, failures); });
  family(kCounter, "entrepot_upstream_throttled_total", "Answers with 429.",
         [&](const auto& upstream) {
           return sum(upstream, [](const UrlStatus& url) { return url.throttled; });
         });
  family(kCounter, "entrepot_upstream_received_bytes_total", "Bytes of bodies received.",
         [&](const auto& upstream) {
           return sum(upstream, [](const UrlStatus& url) { return url.bytes; });
         });
  family(kCounter, "entrepot_upstream_answers_total", "Answers whose head came.",
         [&](const auto& upstream) {
           return sum(upstream, [](const UrlStatus& url) { return url.answers; });
         });
  family(kCounter, "entrepot_upstream_first_byte_seconds_total",
         "From the requests to the heads of their answers, all together.",
         [&](const auto& upstream) {
           return sum(upstream, [](const UrlStatus& url) {
             return std::chrono::duration<double>(url.first_byte).count();
           });
         });
  family(kGauge, "entrepot_upstream_ejected_urls", "URLs that are left out for a while.",
         [&](const auto& upstream) {
           return sum(upstream,
                      [](const UrlStatus& url) { return url.ejected_for.has_value() ? 1 : 0; });
         });
  family(kGauge, "entrepot_upstream_requests_in_flight", "Requests under way.",
         [](const UpstreamStatus& upstream) {
           return static_cast<double>(upstream.requests.in_flight);
         });
  family(kGauge, "entrepot_upstream_requests_waiting", "Requests that wait for their turn.",
         [](const UpstreamStatus& upstream) {
           return static_cast<double>(upstream.requests.waiting);
         });
  family(kGauge, "entrepot_upstream_held_blobs", "Blobs held of the upstream.",
         [&](const auto& upstream) { return static_cast<double>(held(upstream).blobs); });
  family(kGauge, "entrepot_upstream_held_bytes", "Bytes held of the upstream.",
         [&](const auto& upstream) { return static_cast<double>(held(upstream).bytes); });
  family(kGauge, "entrepot_upstream_quota_bytes",
         "The most bytes that are kept of the upstream: its quota, or else the budget.",
         [&](const auto& upstream) {
           return static_cast<double>(held(upstream).quota.value_or(cache.capacity));
         });
  return families;
}

std::vector<MetricFamily> UpstreamMetrics::Collect() const {
  std::vector<UpstreamStatus> upstreams;
  const std::shared_ptr<const Routing> routing = routing_();
  for (const std::shared_ptr<Upstream>& upstream : routing->upstreams()) {
    upstreams.push_back(upstream->status(loop_.now()));
  }
  return upstream_metrics(upstreams, store_.stats());
}

}  // namespace proxy

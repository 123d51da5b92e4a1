#include "proxy/status.h"

#include <chrono>
#include <numeric>

namespace proxy {
namespace {

double ratio(const std::array<uint64_t, kCacheResults>& counts) {
  const uint64_t none = counts[static_cast<size_t>(CacheResult::none)];
  const uint64_t all = std::accumulate(counts.begin(), counts.end(), uint64_t{0}) - none;
  const uint64_t hits = counts[static_cast<size_t>(CacheResult::hit)];
  return all == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(all);
}

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

nlohmann::json url_json(const UrlStatus& url) {
  nlohmann::json json{{"url", url.url},
                      {"requests", url.requests},
                      {"failures", failures(url)},
                      {"throttled", url.throttled},
                      {"received_bytes", url.bytes},
                      {"first_byte_seconds", first_byte_seconds(url)}};
  if (url.ejected_for) json["ejected_for_seconds"] = seconds(*url.ejected_for);
  if (url.throttled_for) json["throttled_for_seconds"] = seconds(*url.throttled_for);
  if (!url.last_error.empty()) json["last_error"] = url.last_error;
  return json;
}

nlohmann::json upstream_json(const UpstreamStatus& upstream, const cache::StoreStats& cache) {
  const cache::AccountStats held = cache.account(upstream.name);
  nlohmann::json json{{"name", upstream.name},
                      {"held_blobs", held.blobs},
                      {"held_bytes", held.bytes},
                      {"requests_in_flight", upstream.requests.in_flight},
                      {"requests_waiting", upstream.requests.waiting},
                      {"passed_in_flight", upstream.passed.in_flight},
                      {"passed_waiting", upstream.passed.waiting},
                      {"urls", nlohmann::json::array()}};
  if (held.quota) json["quota_bytes"] = *held.quota;
  for (const UrlStatus& url : upstream.urls) json["urls"].push_back(url_json(url));
  return json;
}

}  // namespace

uint64_t failures(const UrlStatus& url) {
  return std::accumulate(url.failures.begin(), url.failures.end(), uint64_t{0});
}

double first_byte_seconds(const UrlStatus& url) {
  return url.answers == 0 ? 0 : seconds(url.first_byte) / static_cast<double>(url.answers);
}

double hit_ratio(const Activity::Totals& totals) { return ratio(totals.requests); }
double byte_hit_ratio(const Activity::Totals& totals) { return ratio(totals.bytes); }

nlohmann::json to_json(const Status& status) {
  nlohmann::json json;
  json["name"] = status.name;
  json["version"] = status.version;
  json["uptime_seconds"] = status.uptime_seconds;
  json["connections"] = status.connections;
  for (size_t i = 0; i < kCacheResults; ++i) {
    const std::string name(to_string(static_cast<CacheResult>(i)));
    json["requests"][name] = status.totals.requests[i];
    json["sent_bytes"][name] = status.totals.bytes[i];
  }
  json["failed_requests"] = status.totals.failed;
  json["incomplete_responses"] = status.totals.broken;
  json["hit_ratio"] = hit_ratio(status.totals);
  json["byte_hit_ratio"] = byte_hit_ratio(status.totals);
  json["last_minute"] = {{"requests_per_second", status.rate.requests},
                         {"sent_bytes_per_second", status.rate.sent_bytes},
                         {"received_bytes_per_second", status.rate.received_bytes},
                         {"hit_ratio", status.rate.hit_ratio}};
  json["cache"] = {{"blobs", status.cache.blobs},
                   {"blob_bytes", status.cache.blob_bytes},
                   {"reserved_bytes", status.cache.reserved_bytes},
                   {"unlinked_bytes", status.cache.unlinked_bytes},
                   {"capacity", status.cache.capacity},
                   {"evicted", status.cache.evicted},
                   {"read_only", status.cache.read_only},
                   {"index_complete", status.cache.complete}};
  json["fills"] = nlohmann::json::array();
  for (const FillStatus& fill : status.fills) {
    json["fills"].push_back({{"digest", fill.digest},
                             {"upstream", fill.upstream},
                             {"repository", fill.repository},
                             {"size", fill.size},
                             {"stored", fill.stored},
                             {"seconds", fill.seconds}});
  }
  json["serving"] = nlohmann::json::array();
  for (const Activity::Serving& each : status.serving) {
    json["serving"].push_back({{"client", each.client},
                               {"method", each.method},
                               {"path", each.path},
                               {"status", each.status},
                               {"bytes", each.bytes},
                               {"seconds", each.seconds}});
  }
  json["upstreams"] = nlohmann::json::array();
  for (const UpstreamStatus& each : status.upstreams) {
    json["upstreams"].push_back(upstream_json(each, status.cache));
  }
  return json;
}

}  // namespace proxy

#include "proxy/status.h"

#include <numeric>

namespace proxy {
namespace {

double ratio(const std::array<uint64_t, kCacheResults>& counts) {
  const uint64_t none = counts[static_cast<size_t>(CacheResult::none)];
  const uint64_t all = std::accumulate(counts.begin(), counts.end(), uint64_t{0}) - none;
  const uint64_t hits = counts[static_cast<size_t>(CacheResult::hit)];
  return all == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(all);
}

}  // namespace

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
                   {"evicted", status.cache.evicted}};
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
  for (const UpstreamUrl& each : status.upstreams) {
    json["upstreams"].push_back({{"name", each.name}, {"url", each.url}});
  }
  return json;
}

}  // namespace proxy

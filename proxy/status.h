// Status: what the edge holds and does at one moment, for people and for their tools. Values.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "proxy/activity.h"
#include "proxy/throughput.h"
#include "proxy/upstream.h"

namespace proxy {

struct FillStatus {
  std::string digest;
  std::string upstream;
  std::string repository;
  uint64_t size = 0;    // 0 while it is not known
  uint64_t stored = 0;  // bytes that are there
  double seconds = 0;   // since it began
};

struct Status {
  std::string name;
  std::string version;
  double uptime_seconds = 0;
  size_t connections = 0;
  Activity::Totals totals;
  Throughput::PerSecond rate;
  cache::StoreStats cache;
  std::vector<FillStatus> fills;
  std::vector<Activity::Serving> serving;
  std::vector<UpstreamStatus> upstreams;  // what is held of each, `cache.accounts` says
};

// The JSON that the administration answers with. Names and units in it are stable: bytes, seconds.
nlohmann::json to_json(const Status& status);

// Of what was answered from the cache, or should have been: the share that was. 0 without any.
double hit_ratio(const Activity::Totals& totals);
double byte_hit_ratio(const Activity::Totals& totals);

// Requests that failed, for whatever reason.
uint64_t failures(const UrlStatus& url);
// From a request to the head of its answer, on average; 0 without any.
double first_byte_seconds(const UrlStatus& url);

}  // namespace proxy

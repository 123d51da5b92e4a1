#include "proxy/activity.h"

#include <glog/logging.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "base/log.h"

namespace proxy {
namespace {

constexpr std::array<std::string_view, kCacheResults> kResultNames = {"hit", "collapsed", "miss",
                                                                      "stale", "none"};
// The last is for what is none of them.
constexpr std::array<std::string_view, 6> kKindNames = {"base", "blob",      "manifest",
                                                        "tags", "referrers", "other"};

size_t kind_index(std::string_view kind) {
  const auto found = std::ranges::find(kKindNames, kind);
  return found == kKindNames.end() ? kKindNames.size() - 1
                                   : static_cast<size_t>(found - kKindNames.begin());
}

CacheResult result_of(const http::Headers& response) {
  const std::string_view status = response.get("Cache-Status").value_or("");
  const auto says = [status](std::string_view what) { return status.contains(what); };
  if (says("; fwd=stale")) return CacheResult::stale;
  if (says("; hit")) return CacheResult::hit;
  if (says("; collapsed")) return CacheResult::collapsed;
  if (says("; fwd=")) return CacheResult::miss;
  return CacheResult::none;
}

const base::Buckets kSeconds = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                0.5,   1,     2.5,  5,     10,   30,  60};

}  // namespace

std::string_view to_string(CacheResult result) { return kResultNames[static_cast<size_t>(result)]; }

Activity::Activity(base::LoopGroup& loops, base::Metrics& metrics)
    : loops_(loops),
      metrics_(metrics),
      in_progress_(loops.size()),
      broken_(metrics.counter("entrepot_http_incomplete_responses_total",
                              "Responses whose client left, or was reset, before their end.")) {
  static_assert(kKindNames.size() == kKinds);
  for (size_t i = 0; i < kCacheResults; ++i) {
    const base::Labels labels{{"cache", std::string(kResultNames[i])}};
    bytes_[i] = &metrics.counter("entrepot_http_sent_bytes_total", "Bytes of response bodies sent.",
                                 labels);
    durations_[i] =
        &metrics.histogram("entrepot_http_request_duration_seconds",
                           "From a request's head to its response's last byte.", kSeconds, labels);
  }
}

boost::intrusive::list<Activity::InProgress>& Activity::here() {
  for (size_t i = 0; i < loops_.size(); ++i) {
    if (&loops_.loop(i) == base::EventLoop::current()) return in_progress_[i];
  }
  LOG(FATAL) << "a request is handled outside the worker loops";
}

Activity::InProgress::InProgress(Activity& activity, http::Exchange& exchange,
                                 std::string_view kind)
    : exchange_(exchange), began_(base::EventLoop::current()->now()), all_(activity.here()) {
  exchange.request.kind = kind;
  all_.push_back(*this);
}

Activity::InProgress::~InProgress() { all_.erase(all_.iterator_to(*this)); }

base::Counter& Activity::requests(size_t kind, size_t result, size_t status) {
  auto& slot = requests_[(kind * kCacheResults + result) * kStatuses + status - 100];
  if (base::Counter* known = slot.load(std::memory_order_acquire)) return *known;
  base::Counter& made = metrics_.counter("entrepot_http_requests_total", "Requests answered.",
                                         {{"kind", std::string(kKindNames[kind])},
                                          {"cache", std::string(kResultNames[result])},
                                          {"code", std::to_string(status)}});
  slot.store(&made, std::memory_order_release);
  return made;
}

void Activity::record(const http::AccessRecord& record) {
  const auto result = static_cast<size_t>(result_of(record.response_headers));
  const auto status = static_cast<size_t>(std::clamp(record.status, 100, 599));
  requests(kind_index(record.request.kind), result, status).Increment();
  bytes_[result]->Increment(static_cast<double>(record.body_bytes));
  durations_[result]->Observe(std::chrono::duration<double>(record.duration).count());
  answered_[result].fetch_add(1, std::memory_order_relaxed);
  if (status >= 500) failed_.fetch_add(1, std::memory_order_relaxed);
  if (!record.complete) broken_.Increment();
}

std::vector<Activity::Serving> Activity::serving() const {
  std::vector<Serving> serving;
  for (size_t i = 0; i < loops_.size(); ++i) {
    loops_.call(i, [&] {
      const base::TimePoint now = base::EventLoop::current()->now();
      for (const InProgress& each : in_progress_[i]) {
        const http::Request& request = each.exchange_.request;
        serving.push_back({.client = request.client.empty() ? request.peer.address : request.client,
                           .method = request.method,
                           .path = base::printable(request.path),
                           .status = each.exchange_.response.status(),
                           .bytes = each.exchange_.response.body_bytes(),
                           .seconds = std::chrono::duration<double>(now - each.began_).count()});
      }
    });
  }
  return serving;
}

Activity::Totals Activity::totals() const {
  Totals totals;
  for (size_t i = 0; i < kCacheResults; ++i) {
    totals.requests[i] = answered_[i].load(std::memory_order_relaxed);
    totals.bytes[i] = static_cast<uint64_t>(bytes_[i]->Value());
  }
  totals.failed = failed_.load(std::memory_order_relaxed);
  totals.broken = static_cast<uint64_t>(broken_.Value());
  return totals;
}

}  // namespace proxy

#include "proxy/monitor.h"

#include <chrono>

#include "base/process_metrics.h"
#include "http/server_metrics.h"

namespace proxy {

Monitor::Monitor(std::string name, base::LoopGroup& loops, const Store& store, const Fills& fills,
                 CurrentRouting routing)
    : name_(std::move(name)),
      loops_(loops),
      store_(store),
      fills_(fills),
      routing_(std::move(routing)),
      upstream_metrics_(loops.loop(0), routing_, store),
      activity_(loops, metrics_),
      began_(loops.loop(0).now()) {
  add_metrics();
}

void Monitor::start(const http::Server& server) {
  server_ = &server;
  loops_.call(0, [this] { sampling_.spawn(sample(this)); });
}

void Monitor::stop() {
  stopping_ = true;
  stopped_.notify();
  loops_.await(0, [this]() -> base::Task<void> {
    return [](base::TaskScope* scope) -> base::Task<void> { co_await scope->join(); }(&sampling_);
  });
  server_ = nullptr;
}

void Monitor::add_metrics() {
  using Kind = base::Metrics::Kind;
  base::add_process_metrics(metrics_);
  metrics_.gauge("entrepot_build_info", "The version that runs.", {{"version", ENTREPOT_VERSION}})
      .Set(1);
  http::add_server_metrics(metrics_, [this] { return server_.load(); });
  metrics_.watch(Kind::gauge, "entrepot_fills_in_flight", "Blobs that are being fetched.",
                 [this] { return static_cast<double>(fills_.all().size()); });
  metrics_.include(upstream_metrics_);
  const auto cache = [this](Kind kind, const char* name, const char* help,
                            uint64_t cache::StoreStats::* value) {
    metrics_.watch(kind, name, help,
                   [this, value] { return static_cast<double>(store_.stats().*value); });
  };
  cache(Kind::gauge, "entrepot_cache_blobs", "Blobs held.", &cache::StoreStats::blobs);
  cache(Kind::gauge, "entrepot_cache_blob_bytes", "Bytes of the blobs held.",
        &cache::StoreStats::blob_bytes);
  cache(Kind::gauge, "entrepot_cache_reserved_bytes", "Bytes reserved for partial blobs.",
        &cache::StoreStats::reserved_bytes);
  cache(Kind::gauge, "entrepot_cache_unlinked_bytes",
        "Bytes of blobs that are gone but still being read.", &cache::StoreStats::unlinked_bytes);
  cache(Kind::gauge, "entrepot_cache_capacity_bytes", "The budget.", &cache::StoreStats::capacity);
  cache(Kind::counter, "entrepot_cache_evicted_total", "Blobs evicted.",
        &cache::StoreStats::evicted);
  cache(Kind::counter, "entrepot_cache_bad_copies_total",
        "Blobs dropped because the disk had lost or spoilt them.", &cache::StoreStats::bad_copies);
  cache(Kind::counter, "entrepot_cache_scrubbed_bytes_total",
        "Bytes of held blobs read again to see whether they are right.",
        &cache::StoreStats::scrubbed_bytes);
  metrics_.watch(Kind::gauge, "entrepot_cache_read_only", "1 while the disk takes no writes.",
                 [this] { return store_.stats().read_only ? 1.0 : 0.0; });
  metrics_.watch(Kind::gauge, "entrepot_cache_index_complete",
                 "0 while the index, which was lost, is made anew from the tree.",
                 [this] { return store_.stats().complete ? 1.0 : 0.0; });
}

base::Task<void> Monitor::sample(Monitor* monitor) {
  base::EventLoop& loop = *base::EventLoop::current();
  while (true) {
    const base::Signal::Ticket ticket = monitor->stopped_.ticket();
    if (monitor->stopping_) co_return;
    const Activity::Totals totals = monitor->activity_.totals();
    Throughput::Sample now;
    for (size_t i = 0; i < kCacheResults; ++i) {
      now.sent_bytes += totals.bytes[i];
      if (static_cast<CacheResult>(i) != CacheResult::none) now.requests += totals.requests[i];
    }
    now.received_bytes = monitor->received_bytes(loop.now());
    now.hits = totals.requests[static_cast<size_t>(CacheResult::hit)];
    {
      const std::lock_guard lock(monitor->mutex_);
      monitor->throughput_.add(loop.now(), now);
    }
    co_await monitor->stopped_.wait(ticket, loop.after(std::chrono::seconds(1)));
  }
}

uint64_t Monitor::received_bytes(base::TimePoint now) const {
  const std::shared_ptr<const Routing> routing = routing_();
  uint64_t bytes = 0;
  for (const std::shared_ptr<Upstream>& upstream : routing->upstreams()) {
    for (const UrlStatus& url : upstream->status(now).urls) bytes += url.bytes;
  }
  return bytes;
}

Status Monitor::status() {
  Status status;
  status.name = name_;
  status.version = ENTREPOT_VERSION;
  const base::TimePoint now = loops_.loop(0).now();
  const auto since = [now](base::TimePoint then) {
    return std::chrono::duration<double>(now - then).count();
  };
  status.uptime_seconds = since(began_);
  if (const http::Server* server = server_) status.connections = server->connections();
  status.totals = activity_.totals();
  {
    const std::lock_guard lock(mutex_);
    status.rate = throughput_.over_the_last_minute();
  }
  status.cache = store_.stats();
  for (const std::shared_ptr<Fill>& fill : fills_.all()) {
    status.fills.push_back({.digest = fill->name.digest.str(),
                            .upstream = fill->name.upstream->name(),
                            .repository = fill->name.repository,
                            .size = fill->progress.size().value_or(0),
                            .stored = fill->progress.stored(),
                            .seconds = since(fill->began)});
  }
  status.serving = activity_.serving();
  const std::shared_ptr<const Routing> routing = routing_();
  for (const std::shared_ptr<Upstream>& upstream : routing->upstreams()) {
    status.upstreams.push_back(upstream->status(now));
  }
  return status;
}

}  // namespace proxy

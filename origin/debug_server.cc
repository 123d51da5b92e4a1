#include "origin/debug_server.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

namespace origin {
namespace {

http::Response health_response(const Health& health) {
  http::Response answer;
  const auto errors = health.errors();
  answer.status = errors.empty() ? 200 : 503;
  answer.headers.set("Content-Type", "application/json; charset=utf-8");
  answer.body = nlohmann::json(errors).dump(-1, ' ', /*ensure_ascii=*/false,
                                            nlohmann::json::error_handler_t::replace);
  if (errors.empty()) answer.body = "{}";
  return answer;
}

}  // namespace

DebugConfig read_debug(const base::Section& debug) {
  DebugConfig config;
  config.address = debug.string("addr");
  const base::Section prometheus = debug.section("prometheus");
  config.metrics = prometheus.boolean("enabled", false);
  const std::string path = prometheus.string("path");
  if (!path.empty()) config.metrics_path = path;
  if (!config.metrics_path.starts_with('/')) {
    prometheus.fail("path", "a path that begins with /, such as /metrics");
  }
  return config;
}

DebugServer::DebugServer(base::LoopGroup& loops, const Health& health, const base::Metrics& metrics,
                         const DebugConfig& config, int inherited)
    : health_(health),
      metrics_(metrics),
      config_(config),
      server_(loops, pool_,
              {.handler = [this](http::Exchange& exchange) { return handle(exchange); }},
              {{config.address, nullptr,
                inherited < 0 ? std::vector<int>() : std::vector<int>{inherited}}}) {}

void DebugServer::start() {
  server_.start();
  LOG(INFO) << "debug server on " << server_.address() << ": /debug/health"
            << (config_.metrics ? " and " + config_.metrics_path : "");
}

base::Task<void> DebugServer::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request;
  const bool read = request.is("GET") || request.is("HEAD");
  if (read && request.path == "/debug/health") {
    co_await exchange.response.send(health_response(health_));
  } else if (read && config_.metrics && request.path == config_.metrics_path) {
    http::Response answer;
    answer.headers.set("Content-Type", base::kMetricsType);
    // On the pool, because some of it is read from /proc.
    answer.body = co_await pool_.run([this] { return metrics_.text(); });
    co_await exchange.response.send(std::move(answer));
  } else {
    throw http::StatusError(404, "there is nothing at this path");
  }
}

}  // namespace origin

// DebugServer: what operators' tools ask on the address http.debug.addr: /debug/health and, if
// http.debug.prometheus says so, the metrics. Nothing of Go's (/debug/vars, /debug/pprof). Plain
// HTTP without authentication, as in Distribution: for an address that only they can reach.
#pragma once

#include <string>

#include "base/loop_group.h"
#include "base/metrics.h"
#include "base/thread_pool.h"
#include "base/yaml_config.h"
#include "http/server.h"
#include "origin/health.h"

namespace origin {

struct DebugConfig {
  std::string address;  // http.debug.addr; empty: no such server
  bool metrics = false;
  std::string metrics_path = "/metrics";

  bool operator==(const DebugConfig&) const = default;
};

// The section http.debug. base::ConfigError for what is wrong.
DebugConfig read_debug(const base::Section& debug);

class DebugServer {
 public:
  // Binds: base::IoError. Everything must outlive it; `inherited` is a socket that is taken instead
  // of the address, or -1.
  DebugServer(base::LoopGroup& loops, const Health& health, const base::Metrics& metrics,
              const DebugConfig& config, int inherited);

  void start();
  uint16_t port() const { return server_.port(); }

 private:
  base::Task<void> handle(http::Exchange& exchange);

  base::ThreadPool pool_{1};  // of its own: it answers also when the storage does not
  const Health& health_;
  const base::Metrics& metrics_;
  const DebugConfig config_;
  http::Server server_;
};

}  // namespace origin

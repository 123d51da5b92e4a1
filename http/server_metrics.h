// What Prometheus is told of a server, in both programs: open connections, failed handshakes, and
// what the limits of each address turned away; and what the access log has lost.
#pragma once

#include <functional>

#include "base/metrics.h"
#include "http/access_log.h"
#include "http/server.h"

namespace http {

// `server` gives the server, or nullptr while there is none; any thread, as long as the metrics.
void add_server_metrics(base::Metrics& metrics, const std::function<const Server*()>& server);

// `log` is there as long as the metrics are asked for.
void add_access_log_metrics(base::Metrics& metrics, const AccessLog& log);

}  // namespace http

#include "http/server_metrics.h"

namespace http {

void add_server_metrics(base::Metrics& metrics, const std::function<const Server*()>& server) {
  using Kind = base::Metrics::Kind;
  const auto watch = [&](Kind kind, const char* name, const char* help, auto value) {
    metrics.watch(kind, name, help, [server, value] {
      const Server* now = server();
      return now == nullptr ? 0 : static_cast<double>((now->*value)());
    });
  };
  watch(Kind::gauge, "entrepot_http_connections", "Open connections.", &Server::connections);
  watch(Kind::counter, "entrepot_tls_failed_handshakes_total",
        "TLS handshakes that came to nothing.", &Server::failed_handshakes);
  watch(Kind::counter, "entrepot_http_limited_connections_total",
        "Connections closed because their address had too many.", &Server::limited_connections);
  watch(Kind::counter, "entrepot_http_limited_requests_total",
        "Requests answered 429 because their address sent too many.", &Server::limited_requests);
}

void add_access_log_metrics(base::Metrics& metrics, const AccessLog& log) {
  metrics.watch(base::Metrics::Kind::counter, "entrepot_access_log_dropped_lines_total",
                "Lines of the access log that were dropped because nobody took them.",
                [&log] { return static_cast<double>(log.dropped()); });
}

}  // namespace http

#include "http/exchange.h"

#include <glog/logging.h>

#include <optional>

#include "base/log.h"
#include "http/forwarded.h"

namespace http {
namespace {

// Counts a request from its head to the end of its response.
class InFlight {
 public:
  explicit InFlight(std::atomic<size_t>& count) : count_(count), position_(++count) {}
  ~InFlight() { --count_; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  size_t position() const { return position_; }

 private:
  std::atomic<size_t>& count_;
  const size_t position_;
};

bool is_connection_error(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const ConnectionError&) {
    return true;
  } catch (...) {
    return false;  // looked at by ServerOptions::on_error
  }
}

// How long the client has to wait before it may ask again; zero if it may now.
base::Duration too_early(ServerState& server, const ServerLimits& limits, const Request& request,
                         base::TimePoint now) {
  const RequestRate& rate = limits.request_rate_per_address;
  if (rate.per_second <= 0 || contains_address(limits.unlimited, request.client)) {
    return base::Duration::zero();
  }
  const base::Duration wait = server.addresses.request(request.client, rate, now);
  if (wait > base::Duration::zero()) {
    ++server.limited_requests;
    LOG_EVERY_T(WARNING, 10) << "requests from " << base::printable(request.client)
                             << " refused: more than " << rate.per_second << " a second";
  }
  return wait;
}

}  // namespace

bool expects_continue(const Request& request) {
  return request.version != Version::http1_0 &&
         iequals(request.headers.joined("Expect"), "100-continue");
}

base::Task<void> answer(ServerState& server, Request& request, BodyReader& body,
                        ServerResponse& response) {
  const InFlight in_flight(server.requests_in_flight);
  const std::shared_ptr<const ServerLimits> limits = server.limits();
  request.client = client_address(request, limits->trusted_proxies);
  const base::Duration early =
      too_early(server, *limits, request, base::EventLoop::current()->now());
  std::exception_ptr failure;
  std::string retry_after;
  if (early > base::Duration::zero()) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(early).count();
    retry_after = std::to_string(seconds);
    failure = std::make_exception_ptr(StatusError(429, "too many requests from this address"));
  } else if (in_flight.position() > limits->max_requests_in_flight) {
    retry_after = "1";
    failure = std::make_exception_ptr(StatusError(503, "too many requests in flight"));
  } else if (request.version != Version::http1_0 && request.headers.has("Expect") &&
             !expects_continue(request)) {
    failure = std::make_exception_ptr(StatusError(417, "only 100-continue may be expected"));
  } else {
    try {
      Exchange parts{request, body, response};
      co_await server.options.handler(parts);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (!failure || response.started() || is_connection_error(failure)) co_return;
  try {
    Response error = server.options.on_error(&request, failure);
    if (!retry_after.empty()) error.headers.set("Retry-After", retry_after);
    co_await response.send(std::move(error));
  } catch (const ConnectionError& e) {
    // The caller sees that the response is not complete.
    VLOG(1) << "an error response did not reach its client: " << e.what();
  }
}

void record(const ServerState& server, const Request& request, uint64_t request_bytes,
            const ServerResponse& response, base::Duration duration) {
  if (!server.options.on_access) return;
  server.options.on_access({.request = request,
                            .status = response.status(),
                            .body_bytes = response.body_bytes(),
                            .duration = duration,
                            .response_headers = response.headers(),
                            .complete = response.complete(),
                            .request_bytes = request_bytes});
}

}  // namespace http

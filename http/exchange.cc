#include "http/exchange.h"

#include <glog/logging.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "http/address_limits.h"
#include "http/forwarded.h"
#include "http/healthz.h"

namespace http {
namespace {

// Why a request is not served now, and when to ask again.
struct Refusal {
  StatusError why;
  std::chrono::seconds wait;
};

// Counts a request, once it has a place, to the end of its response. One that is refused has none:
// its client may take as long for the refusal as for any response.
class InFlight {
 public:
  InFlight() = default;
  ~InFlight() {
    if (server_ != nullptr) --server_->requests_in_flight;
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

  std::optional<Refusal> take_place(ServerState& server, const ServerLimits& limits,
                                    const Request& request);

 private:
  ServerState* server_ = nullptr;
  std::optional<AddressLimits::Place> of_address_;
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

// Why it is refused for what its address does already; counted in `place` if it is not.
std::optional<Refusal> refuse_address(ServerState& server, const ServerLimits& limits,
                                      const Request& request,
                                      std::optional<AddressLimits::Place>& place) {
  const RequestRate& rate = limits.request_rate_per_address;
  const size_t most = limits.max_requests_in_flight_per_address;
  if (contains_address(limits.unlimited, request.client)) return std::nullopt;
  if (rate.per_second > 0) {
    const base::Duration early =
        server.addresses.request(request.client, rate, base::EventLoop::current()->now());
    if (early > base::Duration::zero()) {
      LOG_EVERY_T(WARNING, 10) << "requests from " << base::printable(request.client)
                               << " refused: more than " << rate.per_second << " a second";
      return Refusal{StatusError(429, "too many requests from this address"),
                     std::chrono::ceil<std::chrono::seconds>(early)};
    }
  }
  if (most > 0) {
    place = server.addresses.begin_request(request.client, most);
    if (!place) {
      LOG_EVERY_T(WARNING, 10) << "requests from " << base::printable(request.client)
                               << " refused: it has " << most << " in flight";
      return Refusal{StatusError(429, "too many requests in flight from this address"),
                     std::chrono::seconds(1)};
    }
  }
  return std::nullopt;
}

std::optional<Refusal> InFlight::take_place(ServerState& server, const ServerLimits& limits,
                                            const Request& request) {
  std::optional<AddressLimits::Place> of_address;
  if (auto refusal = refuse_address(server, limits, request, of_address)) {
    ++server.limited_requests;
    return refusal;
  }
  if (++server.requests_in_flight > limits.max_requests_in_flight) {
    --server.requests_in_flight;
    return Refusal{StatusError(503, "too many requests in flight"), std::chrono::seconds(1)};
  }
  server_ = &server;
  of_address_ = std::move(of_address);
  return std::nullopt;
}

}  // namespace

bool expects_continue(const Request& request) {
  return request.version != Version::http1_0 &&
         iequals(request.headers.joined("Expect"), "100-continue");
}

base::Task<void> answer(ServerState& server, Request& request, BodyReader& body,
                        ServerResponse& response) {
  const std::shared_ptr<const ServerLimits> limits = server.limits();
  const std::optional<std::string> client = client_address(request, limits->trusted_proxies);
  request.client = client.value_or("");
  InFlight in_flight;
  std::optional<Refusal> refusal;
  if (client && request.path != kHealthzPath) {
    refusal = in_flight.take_place(server, *limits, request);
  }
  std::exception_ptr failure;
  if (!client) {
    failure = std::make_exception_ptr(
        StatusError(400, "X-Forwarded-For and Forwarded do not name one client"));
  } else if (refusal) {
    failure = std::make_exception_ptr(refusal->why);
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
    if (refusal) error.headers.set("Retry-After", std::to_string(refusal->wait.count()));
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

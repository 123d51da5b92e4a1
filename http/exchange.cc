#include "http/exchange.h"

#include <glog/logging.h>

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

}  // namespace

bool expects_continue(const Request& request) {
  return request.version != Version::http1_0 &&
         iequals(request.headers.joined("Expect"), "100-continue");
}

base::Task<void> answer(ServerState& server, Request& request, BodyReader& body,
                        ServerResponse& response) {
  const InFlight in_flight(server.requests_in_flight);
  std::exception_ptr failure;
  bool overloaded = false;
  if (in_flight.position() > server.options.limits.max_requests_in_flight) {
    overloaded = true;
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
    if (overloaded) error.headers.set("Retry-After", "1");
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

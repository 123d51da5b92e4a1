#include "proxy/requests.h"

#include <algorithm>
#include <chrono>

#include "http/retry_after.h"

namespace proxy {
namespace {

// What a 429 without Retry-After is taken for.
constexpr auto kShortRest = std::chrono::seconds(1);

int64_t unix_now() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Failure failure_of(const http::TransferError& error) {
  switch (error.kind()) {
    case http::TransferError::Kind::unreachable:
      return Failure::unreachable;
    case http::TransferError::Kind::tls:
      return Failure::tls;
    case http::TransferError::Kind::timed_out:
      return Failure::timed_out;
    case http::TransferError::Kind::broken:
      break;
  }
  return Failure::broken;
}

Requests::Requests(base::EventLoop& loop, Upstream& upstream, std::string edge)
    : loop_(loop),
      upstream_(upstream),
      client_(loop, upstream.config().client),
      edge_(std::move(edge)) {}

void Requests::abort() {
  upstream_.stop();
  client_.abort();
}

http::ClientRequest Requests::request(size_t url, std::string method, const std::string& target,
                                      http::Headers headers) const {
  const UpstreamConfig& config = upstream_.config();
  http::ClientRequest request;
  request.method = std::move(method);
  request.url = base(url) + target;
  request.headers = std::move(headers);
  request.headers.set("Via", "1.1 " + edge_);
  if (!config.bearer.empty()) request.headers.set("Authorization", "Bearer " + config.bearer);
  return request;
}

Ending Requests::failed(size_t url, Failure failure, const std::string& why) {
  upstream_.health().failed(url, failure, why, loop_.now());
  return {Outcome::unreachable, base(url) + ": " + why, ""};
}

base::Task<std::variant<Reply, Ending>> Requests::send(size_t url, std::string method,
                                                       std::string target, http::Headers headers) {
  const UpstreamConfig& config = upstream_.config();
  std::optional<Slot> slot = co_await upstream_.slots().take(loop_.after(config.queue_timeout));
  if (!slot) {
    co_return Ending{Outcome::busy, config.name + ": too many requests wait for a slot", ""};
  }
  const base::TimePoint began = loop_.now();
  upstream_.health().asked(url);
  Reply reply{nullptr, std::move(*slot)};
  std::optional<http::TransferError> error;
  try {
    reply.response =
        co_await client_.fetch(request(url, std::move(method), target, std::move(headers)));
  } catch (const http::TransferError& e) {
    error = e;
  }
  if (error) co_return failed(url, failure_of(*error), error->what());
  upstream_.health().answered(url, loop_.now() - began);

  const int status = reply.response->status();
  if (status != 429 && status < 500) co_return reply;
  const auto field = reply.response->headers().get("Retry-After");
  std::optional<base::Duration> wait = http::parse_retry_after(field.value_or(""), unix_now());
  if (wait) wait = std::min(*wait, config.retry_after_max);
  Ending ending{Outcome::throttled, base(url) + ": status " + std::to_string(status), ""};
  if (status == 429) {
    upstream_.health().throttle(url, wait.value_or(kShortRest), loop_.now());
  } else {
    ending = failed(url, Failure::status, "status " + std::to_string(status));
  }
  if (wait) {
    ending.retry_after = std::to_string(std::chrono::ceil<std::chrono::seconds>(*wait).count());
  }
  co_return ending;
}

base::Task<void> Requests::check(size_t url) {
  std::string why;
  Failure failure = Failure::status;
  try {
    const std::unique_ptr<http::ClientResponse> response =
        co_await client_.fetch(request(url, "GET", "/v2/", {}));
    const int status = response->status();
    if (status == 200 || status == 401) {
      upstream_.health().succeeded(url);
      co_return;
    }
    why = "status " + std::to_string(status);
  } catch (const http::TransferError& e) {
    failure = failure_of(e);
    why = e.what();
  }
  upstream_.health().failed(url, failure, "health check: " + why, loop_.now());
}

}  // namespace proxy

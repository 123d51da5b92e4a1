#include "origin/events/endpoint.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <random>

#include "base/error.h"
#include "base/log.h"

namespace origin {
namespace {

constexpr base::Duration kLongestBackoff = std::chrono::minutes(1);
// An answer's body means nothing; it is read, as far as that is short, to keep the connection.
constexpr int kMaxAnswerReads = 16;
constexpr size_t kAnswerBuffer = 16 << 10;

http::ClientOptions client_options(const EndpointConfig& config) {
  http::ClientOptions options;
  options.connect_timeout = config.timeout;
  options.first_byte_timeout = config.timeout;
  options.stall_timeout = config.timeout;
  options.buffer_bytes = kAnswerBuffer;
  options.max_connections = 1;
  options.user_agent = "entrepot-origin/" ENTREPOT_VERSION;
  return options;
}

http::ClientRequest post(const EndpointConfig& config, std::string event) {
  http::ClientRequest request{"POST", config.url, config.headers, std::move(event)};
  if (!request.headers.has("Content-Type")) request.headers.set("Content-Type", kEventsMediaType);
  return request;
}

double random_jitter() {
  static thread_local std::minstd_rand generator(std::random_device{}());
  return std::uniform_real_distribution<>(0, 1)(generator);
}

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::ranges::find(list, word) != list.end();
}

}  // namespace

base::Duration retry_delay(const EndpointConfig& config, uint64_t failures, double jitter) {
  if (failures < config.threshold) return base::Duration::zero();
  const base::Duration longest = std::max(config.backoff, kLongestBackoff);
  base::Duration delay = config.backoff;
  for (uint64_t i = config.threshold; i < failures && delay < longest; ++i) {
    delay = delay > longest / 2 ? longest : delay * 2;
  }
  return delay + std::chrono::duration_cast<base::Duration>(delay * (jitter / 4));
}

Endpoint::Endpoint(EndpointConfig config, const NotificationsConfig& notifications,
                   base::EventLoop& loop, base::ThreadPool& pool)
    : config_(std::move(config)),
      loop_(loop),
      pool_(pool),
      queue_(notifications.queue_directory / http::percent_encode(config_.name),
             notifications.queue_limit) {
  if (queue_.pending() == 0) return;
  LOG(INFO) << logged_name() << " has still to be told of " << queue_.pending() << " events";
}

void Endpoint::offer(const Event& event, const std::string& envelope) {
  if (contains(config_.ignored_actions, event.action) ||
      contains(config_.ignored_media_types, event.target.media_type)) {
    return;
  }
  ++events_;
  queue_.add(envelope);
  added_.notify();
}

base::Task<void> Endpoint::run() {
  http::Client client(loop_, client_options(config_));
  client_ = &client;
  while (!stopped_) {
    const base::Signal::Ticket ticket = added_.ticket();
    std::string problem;
    try {
      const auto oldest = co_await pool_.run([this] { return queue_.front(); });
      if (stopped_) break;
      if (!oldest) {
        co_await added_.wait(ticket);
        continue;
      }
      const bool accepted = co_await send(client, oldest->event);
      if (accepted) co_await pool_.run([&] { queue_.done(oldest->number); });
    } catch (const base::IoError& e) {
      problem = e.what();
    }
    // The queue's disk: nothing can be sent while it fails.
    if (!problem.empty()) co_await pause(std::move(problem));
  }
  client_ = nullptr;
}

void Endpoint::stop() {
  stopped_ = true;
  if (client_ != nullptr) client_->abort();
  added_.notify();
  stopping_.notify();
}

// Whether the event was accepted; if not, returns when it is time to try again.
base::Task<bool> Endpoint::send(http::Client& client, std::string event) {
  std::optional<int> status;
  std::string problem;
  try {
    const auto answer = co_await client.fetch(post(config_, std::move(event)));
    status = answer->status();
    for (int i = 0; i < kMaxAnswerReads; ++i) {
      const std::string_view block = co_await answer->read();
      if (block.empty()) break;
    }
  } catch (const http::TransferError& e) {
    problem = e.what();
  }
  if (stopped_ && !status) co_return false;
  const bool accepted = status && *status >= 200 && *status < 400;
  count_attempt(status, accepted);
  if (accepted) {
    if (failures_in_a_row_ > 0) LOG(INFO) << logged_name() << " accepts events again";
    failures_in_a_row_ = 0;
    co_return true;
  }
  if (status) problem = "it answers " + std::to_string(*status);
  co_await pause(std::move(problem));
  co_return false;
}

base::Task<void> Endpoint::pause(std::string why) {
  const base::Signal::Ticket ticket = stopping_.ticket();
  if (stopped_) co_return;
  const base::Duration delay = retry_delay(config_, ++failures_in_a_row_, random_jitter());
  if (failures_in_a_row_ == 1 || delay > base::Duration::zero()) {
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(delay).count();
    LOG(WARNING) << logged_name() << " does not take events: " << base::printable(why) << "; "
                 << queue_.pending() << " wait, next attempt in " << milliseconds << " ms";
  }
  co_await stopping_.wait(ticket, loop_.after(delay));
}

std::string Endpoint::logged_name() const { return "endpoint " + base::printable(config_.name); }

void Endpoint::count_attempt(std::optional<int> status, bool accepted) {
  const std::lock_guard lock(mutex_);
  if (!status) {
    ++counted_.errors;
    return;
  }
  ++(accepted ? counted_.successes : counted_.failures);
  std::string line = std::to_string(*status);
  if (const auto reason = http::reason_phrase(*status); !reason.empty()) {
    line.append(" ").append(reason);
  }
  ++counted_.statuses[line];
}

EndpointStatus Endpoint::status() const {
  EndpointStatus status;
  {
    const std::lock_guard lock(mutex_);
    status = counted_;
  }
  status.name = config_.name;
  status.url = config_.url;
  status.events = events_;
  status.pending = queue_.pending();
  status.dropped = queue_.dropped();
  return status;
}

}  // namespace origin

#include "origin/events/events.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "base/uuid.h"

namespace origin {
namespace {

constexpr base::Duration kSyncInterval = std::chrono::seconds(1);

// This host's name, with the port of "host:port"; of a local socket the name alone.
std::string source_address(const std::string& address) {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) name[0] = '\0';
  const size_t colon = address.rfind(':');
  const bool has_port = colon != std::string::npos && !address.starts_with("unix:");
  return std::string(name.data()) + (has_port ? address.substr(colon) : "");
}

}  // namespace

Events::Events(const NotificationsConfig& config, const std::string& address,
               base::LoopGroup& loops, base::ThreadPool& pool)
    : include_references_(config.include_references),
      source_{source_address(address), base::random_uuid()},
      loops_(loops),
      pool_(pool) {
  for (const EndpointConfig& endpoint : config.endpoints) {
    endpoints_.push_back(std::make_unique<Endpoint>(endpoint, config, loops.loop(0), pool));
  }
}

void Events::start() {
  started_ = true;
  loops_.call(0, [this] {
    for (const auto& endpoint : endpoints_) scope_.spawn(endpoint->run());
    scope_.spawn(keep_synced());
  });
}

void Events::stop() {
  if (!std::exchange(started_, false)) return;
  loops_.await(0, [this] { return end(); });
}

base::Task<void> Events::end() {
  stopped_ = true;
  for (const auto& endpoint : endpoints_) endpoint->stop();
  added_.notify();
  stopping_.notify();
  co_await scope_.join();
}

void Events::add(const Event& event, const http::Request& request, const std::string& client) {
  const std::string envelope = event_envelope(event, request, client, source_);
  for (const auto& endpoint : endpoints_) endpoint->offer(event, envelope);
  added_.notify();
}

void Events::flush() {
  for (const auto& endpoint : endpoints_) endpoint->queue().flush();
}

std::vector<EndpointStatus> Events::status() const {
  std::vector<EndpointStatus> all;
  all.reserve(endpoints_.size());
  for (const auto& endpoint : endpoints_) all.push_back(endpoint->status());
  return all;
}

// Writes and syncs what was added, at most once in the interval, and once more at the end.
base::Task<void> Events::keep_synced() {
  bool last = false;
  while (!last) {
    last = stopped_;
    const base::Signal::Ticket added = added_.ticket();
    co_await pool_.run([this] {
      for (const auto& endpoint : endpoints_) endpoint->queue().sync();
    });
    if (stopped_) continue;
    co_await added_.wait(added);
    const base::Signal::Ticket stopping = stopping_.ticket();
    if (stopped_) continue;
    co_await stopping_.wait(stopping, loops_.loop(0).after(kSyncInterval));
  }
}

}  // namespace origin

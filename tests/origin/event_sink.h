// A listener for the registry's events: keeps what it is sent and answers as it is told.
#pragma once

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/test_server.h"

namespace origin {

// Thread-safe.
class EventSink {
 public:
  struct Received {
    http::Headers headers;
    nlohmann::json event;
  };

  EventSink() : server_([this](http::Exchange& exchange) { return receive(this, exchange); }) {}

  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()) + "/cb"; }

  // The status of every answer from now on.
  void answer(int status) {
    const std::lock_guard lock(mutex_);
    status_ = status;
  }

  // Blocks until so many POSTs have come, and returns them all.
  std::vector<Received> wait_for(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return received_.size() >= count; });
    return received_;
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return received_.size();
  }

 private:
  static base::Task<void> receive(EventSink* self, http::Exchange& exchange) {
    std::string body;
    while (true) {
      const std::string_view block = co_await exchange.body.read();
      if (block.empty()) break;
      body += block;
    }
    const int status = self->keep({exchange.request.headers, nlohmann::json::parse(body)});
    co_await exchange.response.send({.status = status});
  }

  // The envelope has one event.
  int keep(Received received) {
    const std::lock_guard lock(mutex_);
    received.event = received.event.at("events").at(0);
    received_.push_back(std::move(received));
    changed_.notify_all();
    return status_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int status_ = 200;                // guarded by mutex_
  std::vector<Received> received_;  // guarded by mutex_
  test::TestServer server_;
};

}  // namespace origin

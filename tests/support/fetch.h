// One blocking request on a connection of its own, and whether its response was whole: what a
// client would take for a finished download. Loopback only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "http/message.h"

namespace test {

struct FetchOptions {
  std::string method = "GET";
  http::Headers headers;
  std::string body;
  std::string ca_file;  // not empty: TLS, verified against it, as "localhost"
  // Called as body bytes arrive, with how many there are so far. False ends the transfer early.
  std::function<bool(uint64_t)> on_progress;
};

struct Fetched {
  int status = 0;  // 0: no response head came
  http::Headers headers;
  std::string body;
  // The body ended as its Content-Length (or chunked coding) says; false if it was cut.
  bool complete = false;

  std::string header(std::string_view name) const {
    return std::string(headers.get(name).value_or(""));
  }
};

Fetched fetch(uint16_t port, const std::string& target, const FetchOptions& options = {});

}  // namespace test
